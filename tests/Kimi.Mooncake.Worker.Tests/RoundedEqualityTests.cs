using System.Runtime.InteropServices;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models.Synthetic;
using Kimi.Mooncake.Models.Tests.Synthetic;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Worker.Tests;

/// <summary>The exactness rule where inputs and attention are rounded, with every type of cached KV.</summary>
[TestFixture]
internal sealed class RoundedEqualityTests
{
    private const int PromptTokens = 1003;

    [TestCase(TensorType.Q8_0, "bf16")]
    [TestCase(TensorType.Q8_0, "q8")]
    [TestCase(TensorType.Q4_K, "bf16")]
    [TestCase(TensorType.BF16, "bf16")]
    [TestCase(TensorType.BF16, "f32")]
    public async Task PromptLogits_ColdWarmRestoredAndInOtherChunks_AreBitEqual(TensorType type, string kvType)
    {
        // Arrange
        using var folder = new TemporaryFolder();
        var model = Path.Combine(folder.Path, "model.gguf");
        SyntheticModel.Write(model, TinyShape.K2, 3, type);
        var store = Path.Combine(folder.Path, "store");
        var prompt = WorkerSession.TokensOf(WorkerSession.Document(PromptTokens, 5, "The code is 4711."));
        const int FullBlocks = (PromptTokens - 1) / 64 * 64;

        // Act
        WorkerAnswer cold, warm, restored, chunks;
        await using (var session = new WorkerSession(store, chunkTokens: 512, modelPath: model, kvType: kvType))
        {
            cold = await session.AskAsync(prompt);
            warm = await session.AskAsync(prompt);
            await session.IdleAsync(new CancellationTokenSource(TimeSpan.FromMinutes(5)).Token);
        }

        await using (var session = new WorkerSession(store, chunkTokens: 512, modelPath: model, kvType: kvType))
        {
            restored = await session.AskAsync(prompt);
        }

        await using (var session = new WorkerSession(chunkTokens: 37, modelPath: model, kvType: kvType))
        {
            var other = session.AskAsync([.. prompt.Reverse()], maxNewTokens: 30);
            chunks = await session.AskAsync(prompt);
            await other;
        }

        // Assert
        Assert.That(
            (cold.CachedTokens, warm.CachedTokens, restored.CachedTokens), Is.EqualTo((0, FullBlocks, FullBlocks)));
        foreach (var answer in new[] { warm, restored, chunks })
        {
            Assert.That(Bits(answer.PromptLogits), Is.EqualTo(Bits(cold.PromptLogits)));
            Assert.That(answer.Tokens, Is.EqualTo(cold.Tokens));
        }
    }

    private static int[] Bits(float[] logits) => MemoryMarshal.Cast<float, int>(logits).ToArray();
}
