using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;

namespace Kimi.Mooncake.Engine;

/// <summary>
/// Published blocks on their way to the store. A waiting block is not held: where memory is short, it is better
/// evicted unsaved than kept from a request. A block being saved is held until the connector is done with it. At most
/// a quarter of the pool is being saved at once, so that a store that hangs leaves blocks to requests.
/// </summary>
internal sealed class SaveQueue
{
    private const int PoolShareOfSaves = 4;

    private readonly IKvConnector _connector;
    private readonly BlockPool _pool;
    private readonly int _savingBlocksMax;
    private readonly Dictionary<long, int[]> _begun = [];
    private readonly Dictionary<int, Retained> _retainedWhenSaved = [];
    private readonly SaveState[] _states;
    private readonly BlockAttributes[] _attributesOf;
    private readonly Pending[] _ring;
    private readonly BlockKey[] _keys;
    private readonly BlockKey[] _parentKeys;
    private readonly BlockKey[] _groupKeys;
    private readonly int[] _blockIds;
    private readonly BlockAttributes[] _attributes;
    private readonly List<BlockKey> _retained = [];
    private readonly List<BlockKey> _retainedGroups = [];
    private int _first;

    public SaveQueue(IKvConnector connector, BlockPool pool, EngineOptions options)
    {
        _connector = connector;
        _pool = pool;
        _savingBlocksMax = Math.Max(1, pool.BlockCount / PoolShareOfSaves);
        _states = new SaveState[pool.BlockCount];
        _attributesOf = new BlockAttributes[pool.BlockCount];
        Array.Fill(_attributesOf, BlockAttributes.Default);
        _ring = new Pending[options.SavesPendingBlocksMax];
        _keys = new BlockKey[options.SaveBatchBlocksMax];
        _parentKeys = new BlockKey[options.SaveBatchBlocksMax];
        _groupKeys = new BlockKey[options.SaveBatchBlocksMax];
        _blockIds = new int[options.SaveBatchBlocksMax];
        _attributes = new BlockAttributes[options.SaveBatchBlocksMax];
    }

    private enum SaveState : byte
    {
        Unsaved,
        Waiting,
        Saving,
        Saved,
    }

    public int WaitingCount { get; private set; }

    public int SavingCount { get; private set; }

    public long Saved { get; private set; }

    public long Failed { get; private set; }

    public long Dropped { get; private set; }

    /// <summary>A block was published: whatever was known of the block id belongs to what it held before.</summary>
    public void Published(int blockId, bool fromStore)
    {
        _states[blockId] = fromStore ? SaveState.Saved : SaveState.Unsaved;
        _attributesOf[blockId] = BlockAttributes.Default;
    }

    /// <summary>
    /// Puts a published block into the queue unless it is saved or on its way, or there is nowhere to save it.
    /// </summary>
    /// <param name="keys">Keys of its sequence.</param>
    /// <param name="index">Place of the block among them.</param>
    /// <param name="blockId">The block.</param>
    /// <param name="attributes">What comes with it.</param>
    public void Offer(BlockKeyChain keys, int index, int blockId, BlockAttributes attributes)
    {
        if (_states[blockId] == SaveState.Waiting)
        {
            _attributesOf[blockId] = PromptAttributes.Strongest(_attributesOf[blockId], attributes);
        }

        if (_states[blockId] != SaveState.Unsaved || !_connector.CanSave)
        {
            return;
        }

        if (WaitingCount == _ring.Length)
        {
            Dropped++;
            return;
        }

        _ring[(_first + WaitingCount++) % _ring.Length] = new Pending(
            keys.Keys[index], keys.ParentOf(index), keys.GroupOf(index), blockId);
        _states[blockId] = SaveState.Waiting;
        _attributesOf[blockId] = attributes;
    }

    /// <summary>
    /// Has published blocks kept longer: at once where they are saved, with their save where they wait for it, and
    /// after it where it is under way. A save that has these very attributes says it already.
    /// </summary>
    /// <param name="keys">Keys of their sequence.</param>
    /// <param name="first">Place of the first block among them.</param>
    /// <param name="blockIds">The blocks.</param>
    /// <param name="attributes">What they have in common.</param>
    public void Retain(BlockKeyChain keys, int first, ReadOnlySpan<int> blockIds, BlockAttributes attributes)
    {
        _retained.Clear();
        _retainedGroups.Clear();
        for (var i = first; i < first + blockIds.Length; i++)
        {
            var blockId = blockIds[i - first];
            if (ReferenceEquals(_attributesOf[blockId], attributes) && _states[blockId] != SaveState.Unsaved)
            {
                continue;
            }

            switch (_states[blockId])
            {
                case SaveState.Waiting:
                    _attributesOf[blockId] = PromptAttributes.Strongest(_attributesOf[blockId], attributes);
                    break;
                case SaveState.Saving:
                    _retainedWhenSaved[blockId] = new Retained(
                        keys.Keys[i],
                        keys.GroupOf(i),
                        _retainedWhenSaved.TryGetValue(blockId, out var before)
                            ? PromptAttributes.Strongest(before.Attributes, attributes)
                            : attributes);
                    break;
                default:
                    _retained.Add(keys.Keys[i]);
                    _retainedGroups.Add(keys.GroupOf(i));
                    break;
            }
        }

        if (_retained.Count > 0)
        {
            _connector.Retain(
                CollectionsMarshal.AsSpan(_retained), CollectionsMarshal.AsSpan(_retainedGroups), attributes.Retention,
                attributes.Class);
        }
    }

    /// <summary>Hands waiting blocks over until none is left or the connector takes no more.</summary>
    public void Flush()
    {
        while (true)
        {
            DropStaleHead();
            var count = CollectBatch();
            if (count == 0)
            {
                return;
            }

            var ticket = _connector.BeginSave(
                _keys.AsSpan(0, count), _parentKeys.AsSpan(0, count), _groupKeys.AsSpan(0, count),
                _blockIds.AsSpan(0, count), _attributes.AsSpan(0, count));
            if (ticket < 0)
            {
                return;
            }

            var blockIds = _blockIds.AsSpan(0, count).ToArray();
            _begun.Add(ticket, blockIds);
            foreach (var blockId in blockIds)
            {
                _pool.Hold(blockId);
                _states[blockId] = SaveState.Saving;
            }

            SavingCount += count;
            Skip(count);
        }
    }

    /// <summary>Ends a save.</summary>
    /// <returns>False when the ticket is not one of a save.</returns>
    public bool TryComplete(KvTransferDone done)
    {
        if (!_begun.Remove(done.Ticket, out var blockIds))
        {
            return false;
        }

        SavingCount -= blockIds.Length;
        for (var i = blockIds.Length - 1; i >= 0; i--)
        {
            // A block that was not saved is offered again by the next sequence that finds it in the prefix tree.
            _states[blockIds[i]] = i < done.BlocksDone ? SaveState.Saved : SaveState.Unsaved;
            _pool.Release(blockIds[i]);
            if (_retainedWhenSaved.Remove(blockIds[i], out var retained))
            {
                _connector.Retain(
                    [retained.Key], [retained.GroupKey], retained.Attributes.Retention, retained.Attributes.Class);
            }
        }

        Saved += Math.Min(done.BlocksDone, blockIds.Length);
        Failed += Math.Max(blockIds.Length - done.BlocksDone, 0);
        return true;
    }

    /// <summary>Adds one for each hold of a save to the counts by block.</summary>
    public void AddHolds(Span<int> holds)
    {
        foreach (var blockId in _begun.Values.SelectMany(static ids => ids))
        {
            holds[blockId]++;
        }
    }

    private void DropStaleHead()
    {
        while (WaitingCount > 0 && IsStale(At(0)))
        {
            if (_pool.Tree.Find(At(0).Key) != At(0).BlockId)
            {
                Dropped++;
            }

            Skip(1);
        }
    }

    /// <summary>The longest run at the head of the queue in which each block follows the one before.</summary>
    private int CollectBatch()
    {
        var most = Math.Min(Math.Min(WaitingCount, _keys.Length), _savingBlocksMax - SavingCount);
        var count = 0;
        while (count < most)
        {
            ref readonly var pending = ref At(count);
            if (IsStale(pending) || (count > 0 && pending.ParentKey != _keys[count - 1]))
            {
                break;
            }

            _keys[count] = pending.Key;
            _parentKeys[count] = pending.ParentKey;
            _groupKeys[count] = pending.GroupKey;
            _blockIds[count] = pending.BlockId;
            _attributes[count] = _attributesOf[pending.BlockId];
            count++;
        }

        return count;
    }

    private ref readonly Pending At(int index) => ref _ring[(_first + index) % _ring.Length];

    private bool IsStale(in Pending pending) =>
        _states[pending.BlockId] != SaveState.Waiting || _pool.Tree.Find(pending.Key) != pending.BlockId;

    private void Skip(int count)
    {
        _first = (_first + count) % _ring.Length;
        WaitingCount -= count;
    }

    private readonly record struct Pending(BlockKey Key, BlockKey ParentKey, BlockKey GroupKey, int BlockId);

    private readonly record struct Retained(BlockKey Key, BlockKey GroupKey, BlockAttributes Attributes);
}
