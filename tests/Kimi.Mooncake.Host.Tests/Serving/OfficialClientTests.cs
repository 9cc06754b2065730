using System.ClientModel;
using System.Text;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Models.Needle;
using Microsoft.Extensions.Logging.Abstractions;
using OpenAI;
using OpenAI.Chat;

namespace Kimi.Mooncake.Host.Tests.Serving;

/// <summary>The official OpenAI client for .NET against a whole node: real model, real store, real answers.</summary>
[TestFixture]
internal sealed class OfficialClientTests
{
    private const string Model = "kimi-needle";
    private static readonly NeedleDocument Document = NeedleDocument.Create(3000, 6, seed: 5);

    private TemporaryFolder _folder = null!;
    private MooncakeServer _server = null!;
    private ChatClient _chat = null!;

    [OneTimeSetUp]
    public async Task Start()
    {
        _folder = new TemporaryFolder();
        NeedleModel.Write(_folder.Model);
        var settings = ResolvedSettings.Resolve(
            SettingSection.All,
            SettingSources.FromArguments(
                ["gateway.port=0", $"model.path={_folder.Model}", $"store.directory={_folder.Store}"]));
        _server = await MooncakeServer.StartAsync(settings, NullLoggerFactory.Instance, CancellationToken.None);
        var client = new OpenAIClient(
            new ApiKeyCredential("unused"), new OpenAIClientOptions { Endpoint = new Uri(_server.Address, "/v1") });
        _chat = client.GetChatClient(Model);
    }

    [OneTimeTearDown]
    public async Task Stop()
    {
        await _server.DisposeAsync();
        _folder.Dispose();
    }

    [Test]
    public async Task Complete_TwoQuestionsAboutOneDocument_AnswersTheSecondFromTheCache()
    {
        var options = new ChatCompletionOptions { Temperature = 0, MaxOutputTokenCount = 100 };

        var first = (await _chat.CompleteChatAsync([Ask(0)], options)).Value;
        var second = (await _chat.CompleteChatAsync([Ask(1)], options)).Value;

        Assert.Multiple(() =>
        {
            Assert.That(first.Content[0].Text, Is.EqualTo(AnswerTo(0)));
            Assert.That(second.Content[0].Text, Is.EqualTo(AnswerTo(1)));
            Assert.That(second.FinishReason, Is.EqualTo(ChatFinishReason.Stop));
            Assert.That(second.Usage.InputTokenDetails.CachedTokenCount, Is.GreaterThanOrEqualTo(3000 / 64 * 64));
            Assert.That(second.Usage.TotalTokenCount,
                Is.EqualTo(second.Usage.InputTokenCount + second.Usage.OutputTokenCount));
        });
    }

    [Test]
    public async Task Stream_AQuestion_GivesTheAnswerPieceByPieceAndTheUsage()
    {
        var options = new ChatCompletionOptions { Temperature = 0, MaxOutputTokenCount = 100 };
        var text = new StringBuilder();
        var pieces = 0;
        ChatTokenUsage? usage = null;

        await foreach (var update in _chat.CompleteChatStreamingAsync([Ask(2)], options))
        {
            foreach (var part in update.ContentUpdate)
            {
                text.Append(part.Text);
                pieces++;
            }

            usage = update.Usage ?? usage;
        }

        Assert.That(text.ToString(), Is.EqualTo(AnswerTo(2)));
        Assert.That(pieces, Is.GreaterThan(10));
        Assert.That(usage!.OutputTokenCount, Is.GreaterThan(10));
    }

    private static UserChatMessage Ask(int fact) =>
        new($"{Document.Text}\nComplete this sentence from the document:\n{Document.Facts[fact].Question}");

    private static string AnswerTo(int fact) => $"{Document.Facts[fact].Question} {Document.Facts[fact].Answer}.";
}
