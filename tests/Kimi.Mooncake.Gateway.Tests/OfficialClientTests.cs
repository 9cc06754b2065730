using System.ClientModel;
using System.Text;
using OpenAI;
using OpenAI.Chat;

namespace Kimi.Mooncake.Gateway.Tests;

/// <summary>The official OpenAI client for .NET against the gateway.</summary>
internal sealed class OfficialClientTests
{
    private RunningGateway _gateway = null!;
    private ChatClient _client = null!;

    [SetUp]
    public async Task StartAsync()
    {
        _gateway = await RunningGateway.StartAsync(new ScriptedGenerator { CachedTokens = 6 });
        _client = new ChatClient(
            "test/kimi", new ApiKeyCredential("none"),
            new OpenAIClientOptions { Endpoint = new Uri(_gateway.Address, "/v1") });
    }

    [TearDown]
    public async Task StopAsync() => await _gateway.DisposeAsync();

    [Test]
    public async Task Client_Completes_ReadsTextReasonAndUsage()
    {
        ChatCompletion completion = await _client.CompleteChatAsync(
            [new UserChatMessage("hi")],
            new ChatCompletionOptions
            {
                MaxOutputTokenCount = 50,
                Temperature = 0,
                IncludeLogProbabilities = true,
                TopLogProbabilityCount = 2,
            });

        Assert.That(completion.Content[0].Text, Is.EqualTo("Hello, world"));
        Assert.That(completion.FinishReason, Is.EqualTo(ChatFinishReason.Stop));
        Assert.That(completion.Usage.InputTokenCount, Is.EqualTo(20));
        Assert.That(completion.Usage.OutputTokenCount, Is.EqualTo(12));
        Assert.That(completion.Usage.InputTokenDetails.CachedTokenCount, Is.EqualTo(6));
        Assert.That(completion.ContentTokenLogProbabilities, Has.Count.EqualTo(12));
        Assert.That(completion.ContentTokenLogProbabilities[0].TopLogProbabilities, Has.Count.EqualTo(2));
    }

    [Test]
    public async Task Client_Streams_ReadsTextAndUsage()
    {
        var text = new StringBuilder();
        ChatTokenUsage? usage = null;
        ChatFinishReason? reason = null;
        await foreach (var update in _client.CompleteChatStreamingAsync([new UserChatMessage("hi")]))
        {
            text.Append(string.Concat(update.ContentUpdate.Select(part => part.Text)));
            usage = update.Usage ?? usage;
            reason = update.FinishReason ?? reason;
        }

        Assert.That(text.ToString(), Is.EqualTo("Hello, world"));
        Assert.That(reason, Is.EqualTo(ChatFinishReason.Stop));
        Assert.That(usage?.TotalTokenCount, Is.EqualTo(32));
        Assert.That(usage?.InputTokenDetails.CachedTokenCount, Is.EqualTo(6));
    }

    [Test]
    public async Task Client_WrongRequest_GetsTheMessage()
    {
        var options = new ChatCompletionOptions { Temperature = 3 };

        var thrown = await Assert.ThrowsAsync<ClientResultException>(
            () => _client.CompleteChatAsync([new UserChatMessage("hi")], options));

        Assert.That(thrown!.Status, Is.EqualTo(400));
        Assert.That(thrown.Message, Does.Contain("temperature").And.Contain("0 to 2"));
    }
}
