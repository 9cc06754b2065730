namespace Kimi.Mooncake.KvCache;

/// <summary>
/// A sequence's blocks in order: position <c>p</c> lies in block <c>p / BlockTokens</c> of the table.
/// </summary>
public sealed class BlockTable
{
    private int[] _blockIds = [];

    /// <summary>Number of blocks.</summary>
    public int Count { get; private set; }

    /// <summary>The block ids; valid until the table grows or is cleared.</summary>
    public ReadOnlySpan<int> BlockIds => _blockIds.AsSpan(0, Count);

    /// <summary>The id of one block.</summary>
    /// <param name="index">Place in the sequence, from 0.</param>
    public int this[int index] => BlockIds[index];

    /// <summary>Makes room, so that appends up to <paramref name="count"/> blocks do not allocate.</summary>
    public void EnsureCapacity(int count)
    {
        if (count > _blockIds.Length)
        {
            Array.Resize(ref _blockIds, count);
        }
    }

    /// <summary>Adds a block at the end.</summary>
    public void Append(int blockId)
    {
        if (Count == _blockIds.Length)
        {
            Array.Resize(ref _blockIds, Math.Max(8, Count * 2));
        }

        _blockIds[Count++] = blockId;
    }

    /// <summary>Puts a block that holds the same bits in the place of another.</summary>
    /// <param name="index">Place in the sequence, from 0.</param>
    /// <param name="blockId">The block that takes the place.</param>
    public void Replace(int index, int blockId)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Count, nameof(index));
        _blockIds[index] = blockId;
    }

    /// <summary>Forgets all blocks. The caller has released them.</summary>
    public void Clear() => Count = 0;
}
