using System.Buffers;
using System.Collections.Concurrent;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// Buffers for a server that takes frames: blocks of one size, larger than a server's own, so that one read of the
/// socket
/// brings as much as the socket has. Blocks that come back are kept up to a bound.
/// </summary>
public sealed class ReceiveBlockPool : MemoryPool<byte>
{
    /// <summary>Bytes of every block.</summary>
    public const int BlockBytes = 128 << 10;

    /// <summary>
    /// Blocks that are kept while unused, 32 MiB together; further ones are left to the garbage collector.
    /// </summary>
    public const int UnusedBlocksMax = 256;

    private readonly ConcurrentQueue<Block> _unused = new();
    private int _unusedCount;

    /// <inheritdoc />
    public override int MaxBufferSize => BlockBytes;

    /// <inheritdoc />
    /// <exception cref="ArgumentOutOfRangeException">More than a block is asked for.</exception>
    public override IMemoryOwner<byte> Rent(int minBufferSize = -1)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(minBufferSize, BlockBytes);
        if (!_unused.TryDequeue(out var block))
        {
            return new Block(this);
        }

        Interlocked.Decrement(ref _unusedCount);
        return block;
    }

    /// <inheritdoc />
    protected override void Dispose(bool disposing) => _unused.Clear();

    private void Return(Block block)
    {
        if (Interlocked.Increment(ref _unusedCount) <= UnusedBlocksMax)
        {
            _unused.Enqueue(block);
        }
        else
        {
            Interlocked.Decrement(ref _unusedCount);
        }
    }

    private sealed class Block(ReceiveBlockPool pool) : IMemoryOwner<byte>
    {
        public Memory<byte> Memory { get; } =
            GC.AllocateUninitializedArray<byte>(BlockBytes, pinned: true);

        // A block that is not returned, as when a connection is torn down, is collected; so there is no finalizer.
        public void Dispose() => pool.Return(this);
    }
}
