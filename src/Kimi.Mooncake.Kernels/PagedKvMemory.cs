using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Kernels;

/// <summary>
/// The native memory of a worker's block pool. Block <c>b</c> is <see cref="KvLayout.BytesPerBlock"/> contiguous bytes
/// in the order <c>[layer][token][row]</c>, exactly the bytes that the store and the wire carry.
/// </summary>
public sealed unsafe class PagedKvMemory : IDisposable
{
    private readonly NativeBuffer _buffer;
    private readonly int _rowBytes;
    private readonly int _blockLayerBytes;
    private readonly int _blockBytes;

    /// <summary>Allocates the pool; memory is taken from the system as blocks are first written.</summary>
    public PagedKvMemory(KvLayout layout, int blockCount)
    {
        ArgumentNullException.ThrowIfNull(layout);
        ArgumentOutOfRangeException.ThrowIfLessThan(blockCount, 1);
        Layout = layout;
        BlockCount = blockCount;
        (_rowBytes, _blockLayerBytes) = (layout.BytesPerTokenAndLayer, layout.BytesPerBlockLayer);
        _blockBytes = layout.BytesPerBlock;
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

    /// <summary>Stores the values of one token in one layer: the latent, then the rotated key.</summary>
    /// <remarks>
    /// <see cref="KvElementType.BF16"/> takes the nearest value, halves to even, and 0 for what is below the smallest
    /// normal number. <see cref="KvElementType.Q8"/> takes <c>scale = max|x| / 127</c> of each group and the nearest
    /// multiple of it, and 0 for groups without a value of 2^-100.
    /// </remarks>
    /// <exception cref="ArgumentException">There are more or fewer values.</exception>
    public void Write(int blockId, int layer, int tokenInBlock, ReadOnlySpan<float> values)
    {
        CheckValues(values.Length);
        var row = CheckedRow(blockId, layer, tokenInBlock);
        fixed (float* source = values)
        {
            KvRows.FromSingle(Layout, source, row);
        }
    }

    /// <summary>The stored values of one token in one layer, exactly: the latent, then the rotated key.</summary>
    /// <exception cref="ArgumentException">There is no room for just as many values.</exception>
    public void Read(int blockId, int layer, int tokenInBlock, Span<float> values)
    {
        CheckValues(values.Length);
        var row = CheckedRow(blockId, layer, tokenInBlock);
        fixed (float* target = values)
        {
            KvRows.ToSingle(Layout, row, target);
        }
    }

    /// <summary>
    /// Where the row of a token in a layer begins, for transfers; that of the next token of the block follows, and
    /// those of the next layer begin <see cref="KvLayout.BytesPerBlockLayer"/> further on. Valid until the pool is
    /// disposed.
    /// </summary>
    public nint Address(int blockId, int layer, int tokenInBlock) => (nint)CheckedRow(blockId, layer, tokenInBlock);

    /// <inheritdoc />
    public void Dispose() => _buffer.Dispose();

    /// <summary>Where the row of a token in a layer begins; nothing is checked.</summary>
    internal byte* RowPointer(int blockId, int layer, int tokenInBlock) =>
        _buffer.Pointer + ((long)blockId * _blockBytes) + ((long)layer * _blockLayerBytes)
        + ((long)tokenInBlock * _rowBytes);

    private byte* CheckedRow(int blockId, int layer, int tokenInBlock)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)blockId, (uint)BlockCount, nameof(blockId));
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)layer, (uint)Layout.LayerCount, nameof(layer));
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(
            (uint)tokenInBlock, (uint)Layout.BlockTokens, nameof(tokenInBlock));
        return RowPointer(blockId, layer, tokenInBlock);
    }

    private void CheckValues(int count)
    {
        if (count != Layout.ValuesPerTokenAndLayer)
        {
            throw new ArgumentException($"{count} values; a row has {Layout.ValuesPerTokenAndLayer}");
        }
    }
}
