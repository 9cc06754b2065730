using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

/// <summary>
/// Which node has which block: one entry for each key, with the set of nodes' slots. A key names its whole prefix, so
/// the longest prefix of a prompt on a node is found by going through the prompt's keys until the node drops out.
/// </summary>
internal sealed class PrefixIndex(int slots, int keysMax)
{
    private readonly Dictionary<BlockKey, NodeSet> _nodesOf = [];
    private readonly NodeBitsets _bitsets = new(slots);
    private readonly long[] _counts = new long[slots];

    /// <summary>Keys that some node has.</summary>
    public int Count => _nodesOf.Count;

    /// <summary>Sets that need more than 64 bits.</summary>
    public int LargeSets => _bitsets.InUse;

    /// <summary>Keys left out because the index was full.</summary>
    public long Dropped { get; private set; }

    /// <summary>Keys of one node.</summary>
    public long CountOf(int slot) => _counts[slot];

    /// <summary>Whether a node has a key.</summary>
    public bool Contains(in BlockKey key, int slot) => _nodesOf.TryGetValue(key, out var nodes)
        && (nodes.IsLarge ? _bitsets.Contains(nodes.Bitset, slot) : nodes.IndexOf(slot) >= 0);

    public void Add(in BlockKey key, int slot)
    {
        if (_nodesOf.Count >= keysMax && !_nodesOf.ContainsKey(key))
        {
            Dropped++;
            return;
        }

        ref var nodes = ref CollectionsMarshal.GetValueRefOrAddDefault(_nodesOf, key, out _);
        if (nodes.IsLarge ? _bitsets.Contains(nodes.Bitset, slot) : nodes.IndexOf(slot) >= 0)
        {
            return;
        }

        if (nodes.IsLarge)
        {
            _bitsets.Add(nodes.Bitset, slot);
        }
        else
        {
            nodes = nodes.Count < NodeSet.InlineMax ? nodes.With(slot) : _bitsets.Create(nodes, slot);
        }

        _counts[slot]++;
    }

    public void Remove(in BlockKey key, int slot)
    {
        ref var nodes = ref CollectionsMarshal.GetValueRefOrNullRef(_nodesOf, key);
        if (!Unsafe.IsNullRef(ref nodes) && RemoveSlot(ref nodes, slot))
        {
            _nodesOf.Remove(key);
        }
    }

    /// <summary>Forgets a node, by going through the whole index: when it is lost, or sends a snapshot.</summary>
    public void RemoveNode(int slot)
    {
        if (_counts[slot] == 0)
        {
            return;
        }

        // Removal while enumerating is allowed, and so is writing through a reference.
        foreach (var key in _nodesOf.Keys)
        {
            Remove(key, slot);
            if (_counts[slot] == 0)
            {
                return;
            }
        }
    }

    /// <summary>Counts the leading keys that each node has.</summary>
    /// <param name="keys">Keys of a prompt's full blocks.</param>
    /// <param name="lengths">One number for each slot; overwritten.</param>
    public void Match(ReadOnlySpan<BlockKey> keys, Span<int> lengths)
    {
        lengths.Clear();
        for (var index = 0; index < keys.Length; index++)
        {
            if (!_nodesOf.TryGetValue(keys[index], out var nodes) || !Extend(nodes, index, lengths))
            {
                return;
            }
        }
    }

    private bool Extend(NodeSet nodes, int length, Span<int> lengths)
    {
        var isAny = false;
        if (!nodes.IsLarge)
        {
            for (var index = 0; index < nodes.Count; index++)
            {
                isAny |= ExtendSlot(nodes[index], length, lengths);
            }

            return isAny;
        }

        var words = _bitsets[nodes.Bitset];
        for (var index = 0; index < words.Length; index++)
        {
            for (var word = words[index]; word != 0; word &= word - 1)
            {
                isAny |= ExtendSlot(index * 64 + BitOperations.TrailingZeroCount(word), length, lengths);
            }
        }

        return isAny;
    }

    private static bool ExtendSlot(int slot, int length, Span<int> lengths)
    {
        if (lengths[slot] != length)
        {
            return false;
        }

        lengths[slot] = length + 1;
        return true;
    }

    // Says whether no node is left.
    private bool RemoveSlot(ref NodeSet nodes, int slot)
    {
        if (nodes.IsLarge)
        {
            if (!_bitsets.Contains(nodes.Bitset, slot))
            {
                return false;
            }

            nodes = _bitsets.Remove(nodes.Bitset, slot);
        }
        else
        {
            var index = nodes.IndexOf(slot);
            if (index < 0)
            {
                return false;
            }

            nodes = nodes.WithoutAt(index);
        }

        _counts[slot]--;
        return nodes.IsEmpty;
    }
}
