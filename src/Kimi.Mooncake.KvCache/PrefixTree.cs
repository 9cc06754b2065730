using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.KvCache;

/// <summary>
/// The full blocks of one pool by key, each under the block before it, so that the longest cached prefix of a sequence
/// is found by walking its keys. A node is named by the id of its block.
/// </summary>
/// <remarks>
/// Invariants, verified by <see cref="Check"/>:
/// a node is held while somebody holds it or one of its children is held, so a held node's whole prefix is held;
/// a node that is not held is idle and stands in the eviction list, in the order in which the nodes became idle;
/// a child becomes idle before its parent, so the head of the list, the next node to go, never has children.
/// All operations on one node take constant time, but for a hold or release that reaches up to nodes that nobody else
/// holds; that walk is paid for by the moves in and out of the list.
/// </remarks>
public sealed class PrefixTree
{
    /// <summary>The parent of a sequence's first block, and the answer where there is no block.</summary>
    public const int None = -1;

    private readonly Dictionary<BlockKey, int> _index;
    private readonly Node[] _nodes;
    private int _head = None;
    private int _tail = None;

    /// <summary>Makes an empty tree over the blocks of a pool.</summary>
    /// <param name="blockCount">Blocks in the pool; ids are 0 to this, exclusive.</param>
    public PrefixTree(int blockCount)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(blockCount, 1);
        _index = new Dictionary<BlockKey, int>(blockCount);
        _nodes = new Node[blockCount];
    }

    /// <summary>Nodes in the tree.</summary>
    public int Count => _index.Count;

    /// <summary>Nodes that nobody holds; all of them can be evicted.</summary>
    public int IdleCount { get; private set; }

    /// <summary>Nodes that are held, by somebody or through a child.</summary>
    public int HeldCount => Count - IdleCount;

    /// <summary>Whether a block is a node.</summary>
    public bool Contains(int blockId) => _nodes[blockId].Present;

    /// <summary>The block that has a key, or <see cref="None"/>.</summary>
    public int Find(in BlockKey key) => _index.TryGetValue(key, out var blockId) ? blockId : None;

    /// <summary>How often somebody holds a node; holds through children are not counted.</summary>
    public int HoldsOf(int blockId) => Present(blockId).Holds;

    /// <summary>Length of the longest prefix of <paramref name="keys"/> that is in the tree, in blocks.</summary>
    /// <param name="keys">Keys of a sequence from its first block.</param>
    public int Match(ReadOnlySpan<BlockKey> keys)
    {
        var parent = None;
        for (var i = 0; i < keys.Length; i++)
        {
            var blockId = Find(keys[i]);
            if (blockId == None || _nodes[blockId].Parent != parent)
            {
                return i;
            }

            parent = blockId;
        }

        return keys.Length;
    }

    /// <summary>
    /// Adds a block, held once by the caller; where the key is there already, holds the existing block instead and
    /// leaves the caller's alone.
    /// </summary>
    /// <param name="key">Key of the block.</param>
    /// <param name="parent">Node of the block before, held; <see cref="None"/> for a first block.</param>
    /// <param name="blockId">The caller's block, not in the tree.</param>
    /// <returns>The node that has the key: <paramref name="blockId"/>, or the one that was there.</returns>
    /// <exception cref="InvalidOperationException">The caller broke one of the conditions above.</exception>
    internal int Insert(in BlockKey key, int parent, int blockId)
    {
        if (parent != None && !Present(parent).Held)
        {
            throw new InvalidOperationException($"block {parent} is not held, so no block can be put under it");
        }

        var existing = Find(key);
        if (existing != None)
        {
            if (_nodes[existing].Parent != parent)
            {
                throw new InvalidOperationException(
                    $"key {key} is under block {_nodes[existing].Parent}, not under block {parent}");
            }

            Hold(existing);
            return existing;
        }

        if (_nodes[blockId].Present)
        {
            throw new InvalidOperationException($"block {blockId} is in the tree under another key");
        }

        _nodes[blockId] = new Node
        {
            Key = key,
            Parent = parent,
            Present = true,
            Holds = 1,
            Previous = None,
            Next = None,
        };
        _index.Add(key, blockId);
        if (parent != None)
        {
            _nodes[parent].Children++;
            _nodes[parent].HeldChildren++;
        }

        return blockId;
    }

    /// <summary>Holds a node, and through it its whole prefix.</summary>
    internal void Hold(int blockId)
    {
        var wasHeld = Present(blockId).Held;
        _nodes[blockId].Holds++;
        while (!wasHeld)
        {
            Unlink(blockId);
            blockId = _nodes[blockId].Parent;
            if (blockId == None)
            {
                return;
            }

            wasHeld = _nodes[blockId].Held;
            _nodes[blockId].HeldChildren++;
        }
    }

    /// <summary>Ends one hold. In whatever order a path is released, its tail becomes idle first.</summary>
    /// <exception cref="InvalidOperationException">Nobody holds the node.</exception>
    internal void Release(int blockId)
    {
        if (Present(blockId).Holds == 0)
        {
            throw new InvalidOperationException($"block {blockId} is released more often than it was held");
        }

        _nodes[blockId].Holds--;
        while (!_nodes[blockId].Held)
        {
            Link(blockId);
            blockId = _nodes[blockId].Parent;
            if (blockId == None)
            {
                return;
            }

            _nodes[blockId].HeldChildren--;
        }
    }

    /// <summary>Removes the idle node without children that was used least recently.</summary>
    /// <param name="key">The key it had.</param>
    /// <returns>Its block, or <see cref="None"/> when every node is held.</returns>
    internal int EvictOldest(out BlockKey key)
    {
        key = default;
        var blockId = _head;
        if (blockId == None)
        {
            return None;
        }

        ref var node = ref _nodes[blockId];
        if (node.Children != 0)
        {
            throw new InvalidOperationException($"block {blockId} would be evicted from above {node.Children} others");
        }

        Unlink(blockId);
        key = node.Key;
        _index.Remove(key);
        if (node.Parent != None)
        {
            _nodes[node.Parent].Children--;
        }

        node = default;
        return blockId;
    }

    /// <summary>Verifies every invariant, in time linear in the pool.</summary>
    /// <exception cref="InvalidOperationException">One does not hold; the message says which.</exception>
    public void Check()
    {
        var children = new int[_nodes.Length];
        var heldChildren = new int[_nodes.Length];
        var present = 0;
        for (var id = 0; id < _nodes.Length; id++)
        {
            ref readonly var node = ref _nodes[id];
            if (!node.Present)
            {
                continue;
            }

            present++;
            Require(Find(node.Key) == id, $"block {id} is not found under its key");
            Require(node.Holds >= 0, $"block {id} has {node.Holds} holds");
            if (node.Parent != None)
            {
                Require(_nodes[node.Parent].Present, $"block {id} is an orphan: its parent {node.Parent} is gone");
                children[node.Parent]++;
                heldChildren[node.Parent] += node.Held ? 1 : 0;
            }
        }

        Require(present == _index.Count, $"{present} nodes but {_index.Count} keys");
        for (var id = 0; id < _nodes.Length; id++)
        {
            Require(_nodes[id].Children == children[id], $"block {id} counts {_nodes[id].Children} children");
            Require(_nodes[id].HeldChildren == heldChildren[id], $"block {id} miscounts its held children");
        }

        CheckEvictionList();
    }

    internal static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new InvalidOperationException(message);
        }
    }

    private void CheckEvictionList()
    {
        var listed = new HashSet<int>();
        var previous = None;
        for (var id = _head; id != None; id = _nodes[id].Next)
        {
            ref readonly var node = ref _nodes[id];
            Require(node.Present && !node.Held, $"block {id} is in the eviction list but held or gone");
            Require(node.Previous == previous, $"block {id} has a wrong link back");
            Require(listed.Add(id), $"the eviction list runs in a circle at block {id}");
            Require(!listed.Contains(node.Parent), $"block {id} would be evicted after its parent");
            previous = id;
        }

        Require(previous == _tail, "the eviction list does not end at its tail");
        Require(listed.Count == IdleCount, $"{listed.Count} nodes in the eviction list, {IdleCount} counted idle");
        var idle = _nodes.Count(static node => node is { Present: true, Held: false });
        Require(idle == IdleCount, $"{idle} idle nodes, {IdleCount} counted");
    }

    private ref readonly Node Present(int blockId)
    {
        ref readonly var node = ref _nodes[blockId];
        if (!node.Present)
        {
            throw new InvalidOperationException($"block {blockId} is not in the prefix tree");
        }

        return ref node;
    }

    private void Link(int blockId)
    {
        ref var node = ref _nodes[blockId];
        node.Previous = _tail;
        node.Next = None;
        if (_tail == None)
        {
            _head = blockId;
        }
        else
        {
            _nodes[_tail].Next = blockId;
        }

        _tail = blockId;
        IdleCount++;
    }

    private void Unlink(int blockId)
    {
        ref var node = ref _nodes[blockId];
        if (node.Previous == None)
        {
            _head = node.Next;
        }
        else
        {
            _nodes[node.Previous].Next = node.Next;
        }

        if (node.Next == None)
        {
            _tail = node.Previous;
        }
        else
        {
            _nodes[node.Next].Previous = node.Previous;
        }

        node.Previous = None;
        node.Next = None;
        IdleCount--;
    }

    private struct Node
    {
        public BlockKey Key;
        public int Parent;
        public int Children;
        public int HeldChildren;
        public int Holds;
        public int Previous;
        public int Next;
        public bool Present;

        public readonly bool Held => Holds + HeldChildren > 0;
    }
}
