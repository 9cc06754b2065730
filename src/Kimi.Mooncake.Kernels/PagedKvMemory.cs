using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Kernels;

/// <summary>
/// The native memory of a worker's block pool. Block <c>b</c> is <see cref="KvLayout.BytesPerBlock"/> contiguous bytes
/// in the order <c>[layer][token][value]</c>, exactly the bytes that the store and the wire carry.
/// </summary>
public sealed unsafe class PagedKvMemory : IDisposable
{
    private readonly NativeBuffer _buffer;

    /// <summary>Allocates the pool; memory is taken from the system as blocks are first written.</summary>
    public PagedKvMemory(KvLayout layout, int blockCount)
    {
        ArgumentNullException.ThrowIfNull(layout);
        ArgumentOutOfRangeException.ThrowIfLessThan(blockCount, 1);
        Layout = layout;
        BlockCount = blockCount;
        _buffer = new NativeBuffer((long)layout.BytesPerBlock * blockCount);
    }

    /// <summary>Layout of each block.</summary>
    public KvLayout Layout { get; }

    /// <summary>Blocks in the pool; ids are 0 to this, exclusive.</summary>
    public int BlockCount { get; }

    /// <summary>The whole block.</summary>
    public Span<byte> Block(int blockId)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)blockId, (uint)BlockCount, nameof(blockId));
        return new Span<byte>(_buffer.Pointer + ((long)blockId * Layout.BytesPerBlock), Layout.BytesPerBlock);
    }

    /// <summary>The values of one token in one layer: the latent, then the rotated key.</summary>
    public Span<float> Token(int blockId, int layer, int tokenInBlock)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)blockId, (uint)BlockCount, nameof(blockId));
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)layer, (uint)Layout.LayerCount, nameof(layer));
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(
            (uint)tokenInBlock, (uint)Layout.BlockTokens, nameof(tokenInBlock));
        return new Span<float>(
            LayerPointer(blockId, layer) + ((long)tokenInBlock * Layout.ValuesPerTokenAndLayer),
            Layout.ValuesPerTokenAndLayer);
    }

    /// <summary>
    /// Where the values of a token in a layer begin, for transfers; those of the next token of the block follow, and
    /// those of the next layer begin <see cref="KvLayout.BytesPerBlockLayer"/> further on. Valid until the pool is
    /// disposed.
    /// </summary>
    public nint Address(int blockId, int layer, int tokenInBlock)
    {
        fixed (float* first = Token(blockId, layer, tokenInBlock))
        {
            return (nint)first;
        }
    }

    /// <inheritdoc />
    public void Dispose() => _buffer.Dispose();

    internal float* LayerPointer(int blockId, int layer) =>
        (float*)(_buffer.Pointer + ((long)blockId * Layout.BytesPerBlock) + ((long)layer * Layout.BytesPerBlockLayer));
}
