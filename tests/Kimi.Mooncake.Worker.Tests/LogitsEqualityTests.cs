using System.Runtime.InteropServices;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Worker.Tests;

/// <summary>
/// The exactness rule: the logits of a prompt's last token are the same bits however the prompt came to be computed.
/// </summary>
[TestFixture]
internal sealed class LogitsEqualityTests
{
    private const int PromptTokens = 5003;
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    private static int[] Prompt(int seed, int length = PromptTokens) =>
        WorkerSession.TokensOf(WorkerSession.Document(length, seed, "The passcode of Aurora is 7319-KESTREL."));

    [TestCase(64)]
    [TestCase(512)]
    [TestCase(4096)]
    public async Task PromptLogits_ForEveryChunkSize_AreBitEqual(int chunkTokens)
    {
        await using var reference = new WorkerSession(chunkTokens: 2048);
        await using var session = new WorkerSession(chunkTokens: chunkTokens);
        var expected = await reference.AskAsync(Prompt(1));

        var actual = await session.AskAsync(Prompt(1));

        AssertBitEqual(actual.PromptLogits, expected.PromptLogits);
        Assert.That(actual.Tokens, Is.EqualTo(expected.Tokens));
    }

    [TestCase(PromptTokens)]
    [TestCase(4096)]
    [TestCase(4097)]
    public async Task PromptLogits_WarmAndAfterRestart_AreBitEqualToCold(int length)
    {
        using var folder = new TemporaryFolder();
        var prompt = Prompt(2, length);
        var fullBlocks = (length - 1) / 64 * 64;
        WorkerAnswer cold, warm, restarted;
        await using (var session = new WorkerSession(folder.Path))
        {
            cold = await session.AskAsync(prompt);
            warm = await session.AskAsync(prompt);
            await session.IdleAsync(new CancellationTokenSource(Patience).Token);
        }

        await using (var session = new WorkerSession(folder.Path))
        {
            restarted = await session.AskAsync(prompt);
        }

        Assert.Multiple(() =>
        {
            Assert.That(cold.CachedTokens, Is.Zero);
            Assert.That(warm.CachedTokens, Is.EqualTo(fullBlocks));
            Assert.That(restarted.CachedTokens, Is.EqualTo(fullBlocks));
        });
        AssertBitEqual(warm.PromptLogits, cold.PromptLogits);
        AssertBitEqual(restarted.PromptLogits, cold.PromptLogits);
        Assert.That(restarted.Tokens, Is.EqualTo(cold.Tokens).And.EqualTo(warm.Tokens));
    }

    [Test]
    public async Task PromptLogits_WithThreeOthersInTheBatch_AreBitEqualToAlone()
    {
        await using var alone = new WorkerSession();
        await using var session = new WorkerSession(chunkTokens: 700);
        var expected = await alone.AskAsync(Prompt(3), maxNewTokens: 40);

        var others = Enumerable.Range(10, 3).Select(seed => session.AskAsync(Prompt(seed, 900 + seed), 60)).ToArray();
        var actual = await session.AskAsync(Prompt(3), maxNewTokens: 40);
        await Task.WhenAll(others);

        AssertBitEqual(actual.PromptLogits, expected.PromptLogits);
        Assert.That(actual.Tokens, Is.EqualTo(expected.Tokens));
    }

    [Test]
    public async Task PromptLogits_OfASecondTurn_AreBitEqualToCold()
    {
        await using var session = new WorkerSession();
        await using var fresh = new WorkerSession();
        var first = Prompt(4, 1000);
        var answer = await session.AskAsync(first, maxNewTokens: 150);
        await session.IdleAsync(new CancellationTokenSource(Patience).Token);
        int[] second = [.. first, .. answer.Tokens, .. WorkerSession.TokensOf(" And then? The passcode of Aurora is")];

        var warm = await session.AskAsync(second);
        var cold = await fresh.AskAsync(second);

        AssertBitEqual(warm.PromptLogits, cold.PromptLogits);
        Assert.That(warm.CachedTokens, Is.EqualTo((first.Length + answer.Tokens.Count) / 64 * 64));
        Assert.That(cold.CachedTokens, Is.Zero);
    }

    [Test]
    public async Task PromptLogits_OfTheVectorisedPath_AreCloseToTheReference()
    {
        var model = SharedData.PathOf("golden", "tiny-F32.gguf");
        await using var fast = new WorkerSession(modelPath: model);
        await using var plain = new WorkerSession(modelPath: model, kernels: "reference");
        var random = new Random(20);
        int[] prompt = [.. Enumerable.Range(0, 300).Select(_ => random.Next(900))];

        var actual = (await fast.AskAsync(prompt)).PromptLogits;
        var expected = (await plain.AskAsync(prompt)).PromptLogits;

        var difference = Math.Sqrt(actual.Zip(expected, (a, b) => Math.Pow((double)a - b, 2)).Sum());
        var norm = Math.Sqrt(expected.Sum(value => (double)value * value));
        Assert.That(difference / norm, Is.LessThan(1e-4), "seed 20");
    }

    private static void AssertBitEqual(float[] actual, float[] expected) =>
        Assert.That(
            MemoryMarshal.AsBytes(actual.AsSpan()).SequenceEqual(MemoryMarshal.AsBytes(expected.AsSpan())),
            "the logits differ");
}
