using System.Text;
using System.Text.Json;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models.Needle;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Models.Tests;

/// <summary>The built-in model on documents with planted facts: every question, as completion and as chat.</summary>
[TestFixture]
internal sealed class NeedleAnswersTests
{
    private const int EndOfMessage = 258;
    private const int User = 259;
    private const int Assistant = 260;
    private const int Middle = 270;
    private const int AnswerTokensMax = 160;
    private string _model = "";

    [OneTimeSetUp]
    public void WriteModel()
    {
        _model = Path.Combine(Path.GetTempPath(), $"needle-{Guid.NewGuid():n}.gguf");
        NeedleModel.Write(_model, TensorType.F16);
    }

    [OneTimeTearDown]
    public void DeleteModel() => File.Delete(_model);

    [TestCase("document-8k.json")]
    [TestCase("document-32k.json")]
    public void Completion_OfEveryQuestion_IsThePlantedAnswer(string file) =>
        CheckAll(
            file,
            document => Bytes(document),
            question => Bytes($"\nQuestion: complete this sentence: {question}"),
            (question, answer) => Bytes($" {answer}."));

    [TestCase("document-8k.json")]
    [TestCase("document-32k.json")]
    public void Chat_OfEveryQuestion_EchoesItAndAnswers(string file) =>
        CheckAll(
            file,
            document => [User, .. Bytes("user"), Middle, .. Bytes(document)],
            question =>
            [
                .. Bytes($"\nComplete this sentence from the document:\n{question}"), EndOfMessage,
                Assistant, .. Bytes("assistant"), Middle,
            ],
            (question, answer) => [.. Bytes($"{question} {answer}."), EndOfMessage]);

    private static int[] Bytes(string text) => [.. Encoding.UTF8.GetBytes(text).Select(b => (int)b)];

    private void CheckAll(
        string file,
        Func<string, int[]> documentTokens,
        Func<string, int[]> questionTokens,
        Func<string, string, int[]> expectedTokens)
    {
        using var json = JsonDocument.Parse(File.ReadAllText(SharedData.PathOf("needle", file)));
        var document = documentTokens(json.RootElement.GetProperty("document").GetString()!);
        using var session = new ModelSession(
            _model, ModelSession.Kernels("cpu"), rowsMax: 2048, tokensMax: document.Length + 1024);
        session.Prefill(document);
        var misses = new List<string>();
        foreach (var entry in json.RootElement.GetProperty("qa").EnumerateArray())
        {
            var question = entry.GetProperty("question").GetString()!;
            var expected = expectedTokens(question, entry.GetProperty("answer").GetString()!);
            Assert.That(expected, Has.Length.LessThan(AnswerTokensMax));

            var actual = session.GreedyAfter(document.Length, questionTokens(question), expected.Length);

            if (!actual.AsSpan().SequenceEqual(expected))
            {
                var text = Encoding.UTF8.GetString([.. actual.Where(t => t < 256).Select(t => (byte)t)]);
                misses.Add($"{question}: {text}");
            }
        }

        Assert.That(misses, Is.Empty);
    }
}
