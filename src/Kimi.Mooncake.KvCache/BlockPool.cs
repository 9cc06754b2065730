using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.KvCache;

/// <summary>
/// Who uses which block of a worker's KV memory. Accounting only; the bytes belong to someone else.
/// </summary>
/// <remarks>
/// Every block is in one of three states, so free + cached + held = total:
/// free, holding nothing; held, by its one owner while private, or by any number of owners once it is in the prefix
/// tree; cached, in the prefix tree with nobody holding it. Allocation takes free blocks first, then evicts cached
/// ones.
/// Not safe for concurrent use.
/// </remarks>
public sealed class BlockPool
{
    private readonly int[] _free;
    private readonly bool[] _private;
    private readonly List<KvEvent> _events = [];
    private int _freeCount;
    private int _privateCount;

    /// <summary>Makes a pool of free blocks.</summary>
    /// <param name="blockCount">Blocks; ids are 0 to this, exclusive.</param>
    public BlockPool(int blockCount)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(blockCount, 1);
        BlockCount = blockCount;
        Tree = new PrefixTree(blockCount);
        _free = new int[blockCount];
        _private = new bool[blockCount];
        for (var i = 0; i < blockCount; i++)
        {
            _free[i] = blockCount - 1 - i;
        }

        _freeCount = blockCount;
    }

    /// <summary>Blocks in all.</summary>
    public int BlockCount { get; }

    /// <summary>Blocks that hold nothing.</summary>
    public int FreeCount => _freeCount;

    /// <summary>Blocks in the prefix tree that nobody holds.</summary>
    public int CachedCount => Tree.IdleCount;

    /// <summary>Blocks that somebody holds.</summary>
    public int HeldCount => _privateCount + Tree.HeldCount;

    /// <summary>Blocks that can be allocated: free and cached.</summary>
    public int AvailableCount => FreeCount + CachedCount;

    /// <summary>Blocks evicted from the prefix tree since the start.</summary>
    public long EvictedCount { get; private set; }

    /// <summary>The published blocks. Changed only through the pool.</summary>
    public PrefixTree Tree { get; }

    /// <summary>Whether <see cref="Events"/> are recorded; whoever says so must clear them.</summary>
    public bool RecordsEvents { get; init; }

    /// <summary>What entered and left the prefix tree since <see cref="ClearEvents"/>, in order.</summary>
    public ReadOnlySpan<KvEvent> Events => CollectionsMarshal.AsSpan(_events);

    /// <summary>Forgets the events that were read.</summary>
    public void ClearEvents() => _events.Clear();

    /// <summary>Gives the caller a private block.</summary>
    /// <param name="blockId">The block, or <see cref="PrefixTree.None"/>.</param>
    /// <returns>False when every block is held.</returns>
    public bool TryAllocate(out int blockId)
    {
        if (_freeCount > 0)
        {
            blockId = _free[--_freeCount];
        }
        else
        {
            blockId = Tree.EvictOldest(out var key);
            if (blockId == PrefixTree.None)
            {
                return false;
            }

            EvictedCount++;
            Record(key, removed: true);
        }

        _private[blockId] = true;
        _privateCount++;
        return true;
    }

    /// <summary>
    /// Puts a full private block into the prefix tree, where others find it. The caller then holds the returned node.
    /// Where the key was published before, that node is another block, and the caller's block stays private, his
    /// to use and release.
    /// </summary>
    /// <param name="blockId">A private block of the caller.</param>
    /// <param name="key">Its key.</param>
    /// <param name="parent">Node of the block before, held by the caller; none for a first block.</param>
    /// <returns>The node that has the key.</returns>
    public int Publish(int blockId, in BlockKey key, int parent)
    {
        if (!_private[blockId])
        {
            throw new InvalidOperationException($"block {blockId} is published but is not a private block");
        }

        var node = Tree.Insert(key, parent, blockId);
        if (node == blockId)
        {
            _private[blockId] = false;
            _privateCount--;
            Record(key, removed: false);
        }

        return node;
    }

    /// <summary>Finds the longest published prefix of a sequence and holds each of its blocks once.</summary>
    /// <param name="keys">Keys of the sequence from its first block.</param>
    /// <param name="table">An empty table; the held blocks are appended.</param>
    /// <returns>Blocks held.</returns>
    public int HoldPrefix(ReadOnlySpan<BlockKey> keys, BlockTable table)
    {
        ArgumentNullException.ThrowIfNull(table);
        var matched = Tree.Match(keys);
        for (var i = 0; i < matched; i++)
        {
            var node = Tree.Find(keys[i]);
            Tree.Hold(node);
            table.Append(node);
        }

        return matched;
    }

    /// <summary>Holds a published block once more.</summary>
    public void Hold(int blockId) => Tree.Hold(blockId);

    /// <summary>
    /// Ends a hold: a private block becomes free; a published one stays cached when this was the last hold.
    /// </summary>
    /// <exception cref="InvalidOperationException">Nobody holds the block.</exception>
    public void Release(int blockId)
    {
        if (_private[blockId])
        {
            _private[blockId] = false;
            _privateCount--;
            _free[_freeCount++] = blockId;
            return;
        }

        Tree.Release(blockId);
    }

    /// <summary>How many owners hold a block; holds through children are not counted.</summary>
    public int HoldsOf(int blockId) => _private[blockId] ? 1 : Tree.Contains(blockId) ? Tree.HoldsOf(blockId) : 0;

    /// <summary>Verifies free + cached + held = total and every other invariant, in time linear in the pool.</summary>
    /// <exception cref="InvalidOperationException">One does not hold; the message says which.</exception>
    public void Check()
    {
        Tree.Check();
        var sum = FreeCount + CachedCount + HeldCount;
        PrefixTree.Require(
            sum == BlockCount,
            $"{FreeCount} free + {CachedCount} cached + {HeldCount} held are {sum}, not {BlockCount} blocks");
        var seen = new bool[BlockCount];
        foreach (var blockId in _free.AsSpan(0, _freeCount))
        {
            PrefixTree.Require(!seen[blockId], $"block {blockId} is free twice");
            seen[blockId] = true;
        }

        var privateCount = 0;
        for (var id = 0; id < BlockCount; id++)
        {
            var states = (seen[id] ? 1 : 0) + (_private[id] ? 1 : 0) + (Tree.Contains(id) ? 1 : 0);
            PrefixTree.Require(states == 1, $"block {id} is in {states} of the states free, private and published");
            privateCount += _private[id] ? 1 : 0;
        }

        PrefixTree.Require(privateCount == _privateCount, $"{privateCount} blocks are private, not {_privateCount}");
    }
    private void Record(in BlockKey key, bool removed)
    {
        if (RecordsEvents)
        {
            _events.Add(new KvEvent(key, removed));
        }
    }
}
