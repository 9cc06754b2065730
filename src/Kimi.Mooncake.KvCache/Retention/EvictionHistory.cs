using System.Numerics;

namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>
/// The blocks that were evicted lately: about as many as there are in the index, 8 bytes each. A newer one takes the
/// place of an older one with the same hash. The table grows by and by; then a few that it knew are not found.
/// </summary>
internal sealed class EvictionHistory
{
    private const int SequenceBits = 40;
    private const long SequenceMask = (1L << SequenceBits) - 1;

    // Of each 64 bits: 23 of the key, one for whether it had been used, 40 of the sequence.
    private const int UsedBit = SequenceBits;
    private const int KeyShift = SequenceBits + 1;

    private readonly ChunkedArray<ulong> _table = new();

    public long MemoryBytes => _table.MemoryBytes;

    /// <summary>Remembers a block that is evicted.</summary>
    public void Add(in BlockUse block, int blocks)
    {
        _table.Grow(blocks);
        _table[PlaceOf(block.KeyHash)] = KeyBits(block.KeyHash) | (block.Uses > 0 ? 1UL << UsedBit : 0) |
            (ulong)(block.Sequence & SequenceMask);
    }

    /// <summary>Whether a block that is added was evicted within so many uses; it is forgotten then.</summary>
    public bool TryTake(in BlockUse block, long within, out bool wasUsed)
    {
        wasUsed = false;
        if (_table.Length == 0)
        {
            return false;
        }

        ref var entry = ref _table[PlaceOf(block.KeyHash)];
        if (entry == 0 || (entry >> KeyShift) != (KeyBits(block.KeyHash) >> KeyShift))
        {
            return false;
        }

        wasUsed = ((entry >> UsedBit) & 1) != 0;
        var since = (block.Sequence - (long)entry) & SequenceMask;
        entry = 0;
        return since < within;
    }

    private static ulong KeyBits(ulong hash) => hash & ~((1UL << KeyShift) - 1);

    // By the low bits, as those in the entry are the high ones; what would lie behind the end lies in the lower half.
    private int PlaceOf(ulong hash)
    {
        var mask = (int)(BitOperations.RoundUpToPowerOf2((uint)_table.Length) - 1);
        var place = (int)hash & mask;
        return place < _table.Length ? place : place & (mask >> 1);
    }
}
