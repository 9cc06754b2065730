using System.Numerics;

namespace Kimi.Mooncake.Conductor;

/// <summary>
/// A set of nodes' slots in 64 bits: up to five slots of twelve bits with their count in the lowest four bits, or the
/// number of a bitset for more. Most blocks are on few nodes, so most keys need no further memory.
/// </summary>
internal readonly record struct NodeSet(ulong Bits)
{
    public const int SlotsMax = 1 << SlotBits;
    public const int InlineMax = 5;

    private const int SlotBits = 12;
    private const int CountBits = 4;
    private const ulong CountMask = (1 << CountBits) - 1;
    private const ulong LargeTag = CountMask;

    public static NodeSet Large(int bitset) => new(((ulong)bitset << CountBits) | LargeTag);

    public bool IsEmpty => Bits == 0;

    public bool IsLarge => (Bits & CountMask) == LargeTag;

    /// <summary>Number of the bitset of a large set.</summary>
    public int Bitset => (int)(Bits >> CountBits);

    /// <summary>Slots of a small set.</summary>
    public int Count => (int)(Bits & CountMask);

    public int this[int index] => (int)(Bits >> (CountBits + index * SlotBits)) & (SlotsMax - 1);

    public int IndexOf(int slot)
    {
        var count = Count;
        for (var index = 0; index < count; index++)
        {
            if (this[index] == slot)
            {
                return index;
            }
        }

        return -1;
    }

    public NodeSet With(int slot) =>
        new((Bits | ((ulong)slot << (CountBits + Count * SlotBits))) + 1);

    /// <summary>Without the slot at <paramref name="index"/>; the last one takes its place.</summary>
    public NodeSet WithoutAt(int index)
    {
        var last = Count - 1;
        var field = (ulong)(SlotsMax - 1);
        var bits = Bits & ~(field << (CountBits + index * SlotBits));
        if (index != last)
        {
            bits &= ~(field << (CountBits + last * SlotBits));
            bits |= (ulong)this[last] << (CountBits + index * SlotBits);
        }

        return new NodeSet(bits - 1);
    }
}

/// <summary>The bitsets of sets that are too large for their 64 bits; freed ones are used again.</summary>
internal sealed class NodeBitsets(int slots)
{
    private readonly int _words = (slots + 63) / 64;
    private readonly List<ulong[]> _bitsets = [];
    private readonly Stack<int> _free = new();

    public int InUse => _bitsets.Count - _free.Count;

    public ReadOnlySpan<ulong> this[int bitset] => _bitsets[bitset];

    public NodeSet Create(NodeSet small, int slot)
    {
        if (!_free.TryPop(out var bitset))
        {
            bitset = _bitsets.Count;
            _bitsets.Add(new ulong[_words]);
        }

        for (var index = 0; index < small.Count; index++)
        {
            Add(bitset, small[index]);
        }

        Add(bitset, slot);
        return NodeSet.Large(bitset);
    }

    public bool Contains(int bitset, int slot) => (_bitsets[bitset][slot >> 6] & (1UL << slot)) != 0;

    public void Add(int bitset, int slot) => _bitsets[bitset][slot >> 6] |= 1UL << slot;

    /// <summary>Removes a slot; a set that fits 64 bits again gives its bitset back.</summary>
    public NodeSet Remove(int bitset, int slot)
    {
        var words = _bitsets[bitset];
        words[slot >> 6] &= ~(1UL << slot);
        var count = 0;
        foreach (var word in words)
        {
            count += BitOperations.PopCount(word);
        }

        // One below the number that made it large, so that a set at the border does not go back and forth.
        if (count >= NodeSet.InlineMax)
        {
            return NodeSet.Large(bitset);
        }

        var small = default(NodeSet);
        for (var index = 0; index < words.Length; index++)
        {
            for (var word = words[index]; word != 0; word &= word - 1)
            {
                small = small.With(index * 64 + BitOperations.TrailingZeroCount(word));
            }
        }

        Array.Clear(words);
        _free.Push(bitset);
        return small;
    }
}
