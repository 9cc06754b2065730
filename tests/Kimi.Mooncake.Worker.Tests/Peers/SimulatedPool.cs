using System.Collections.Concurrent;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Worker.Peers;

namespace Kimi.Mooncake.Worker.Tests.Peers;

/// <summary>A pool in which block i, once published, has the i-th key and its bytes.</summary>
internal sealed class SimulatedPool(PagedKvMemory memory) : IPublishedBlocks
{
    private readonly ConcurrentDictionary<BlockKey, int> _published = new();
    private int _held;

    /// <summary>Blocks that are held, each as often as it is.</summary>
    public int Held => Volatile.Read(ref _held);

    /// <summary>Passed before blocks are held.</summary>
    public Func<Task> BeforeHold { get; set; } = static () => Task.CompletedTask;

    public void Publish(int first, int count)
    {
        for (var number = first; number < first + count; number++)
        {
            PeerBlocks.Bytes(number).CopyTo(memory.Block(number));
            _published[PeerBlocks.Key(number)] = number;
        }
    }

    public nint AddressOf(int blockId) => memory.Address(blockId, 0, 0);

    public Task<int> CountAsync(ReadOnlyMemory<BlockKey> keys) =>
        Task.FromResult(keys.ToArray().TakeWhile(_published.ContainsKey).Count());

    public async Task<int[]> HoldAsync(ReadOnlyMemory<BlockKey> keys)
    {
        await BeforeHold();
        int[] held = [.. keys.ToArray().TakeWhile(_published.ContainsKey).Select(key => _published[key])];
        Interlocked.Add(ref _held, held.Length);
        return held;
    }

    public void Release(int[] blockIds) => Interlocked.Add(ref _held, -blockIds.Length);
}
