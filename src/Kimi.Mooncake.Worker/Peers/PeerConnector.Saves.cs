using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;

namespace Kimi.Mooncake.Worker.Peers;

/// <content>Blocks on their way to stores, and how long these keep them.</content>
internal sealed partial class PeerConnector
{
    /// <inheritdoc />
    public bool CanSave => _local is not null || _book.Stores.Any(store => store.Address != _parts.OwnAddress());

    /// <inheritdoc />
    public long BeginSave(
        ReadOnlySpan<BlockKey> keys, ReadOnlySpan<BlockKey> parentKeys, ReadOnlySpan<BlockKey> groupKeys,
        ReadOnlySpan<int> blockIds, ReadOnlySpan<BlockAttributes> attributes)
    {
        lock (_gate)
        {
            var puts = GroupPuts(groupKeys, attributes);
            if (puts.Count > 0 && !_puts.HasRoomFor(puts.Count))
            {
                // What is not taken stays in the engine's queue, where it is not held, and comes again.
                return -1;
            }

            var transfer = new SplitTransfer(++_lastTicket, keys.Length);
            if (_local is not null)
            {
                var ticket = _local.BeginSave(keys, parentKeys, groupKeys, blockIds, attributes);
                if (ticket < 0)
                {
                    return -1;
                }

                AddLocalPart(transfer, [.. Enumerable.Range(0, keys.Length)], ticket, isLoad: false, isSave: true);
            }
            else
            {
                // What finds no store node now is offered again with its next use.
                transfer.Expect();
            }

            foreach (var ((store, common), all) in puts)
            {
                int[] indices = [.. all];
                var blocks = new PutBlocks(
                    Pick(keys, indices),
                    Pick(parentKeys, indices),
                    Array.ConvertAll(Pick(blockIds, indices), id => _parts.Memory.Address(id, 0, 0)),
                    _parts.Memory.Layout.BytesPerBlock,
                    _parts.Fingerprint,
                    common);
                if (!TryPut(transfer, store, indices, blocks))
                {
                    _parts.Traffic.AddPutSkipped(indices.Length);
                }
            }

            if (!transfer.HasParts)
            {
                _done.Enqueue(new KvTransferDone(transfer.Ticket, 0));
                _wake();
            }

            return transfer.Ticket;
        }
    }

    /// <inheritdoc />
    public void Retain(
        ReadOnlySpan<BlockKey> keys, ReadOnlySpan<BlockKey> groupKeys, in BlockRetention retention,
        BlockClass blockClass)
    {
        _local?.Retain(keys, groupKeys, retention, blockClass);
        var byStore = new Dictionary<Peer, List<int>>();
        for (var i = 0; i < keys.Length; i++)
        {
            foreach (var store in StoresFor(groupKeys[i], blockClass))
            {
                Add(byStore, store, i);
            }
        }

        foreach (var (store, indices) in byStore)
        {
            _retains.Begin(store, Pick(keys, [.. indices]), retention);
        }
    }

    /// <inheritdoc />
    public void Touch(ReadOnlySpan<BlockKey> keys) => _local?.Touch(keys);

    /// <summary>The other processes that are to keep a block, but for those that are to be left alone.</summary>
    private Peer[] StoresFor(in BlockKey groupKey, BlockClass blockClass)
    {
        var own = _parts.OwnAddress();
        var replicas = blockClass == BlockClass.Context
            ? _parts.Replicas.ContextReplicas
            : _parts.Replicas.PromptReplicas;
        var placed = Array.FindAll(_book.ReplicasOf(groupKey, replicas), store => store.Address != own);
        var stores = Array.FindAll(placed, static store => store.Breaker.WouldEnter);
        if (stores.Length < placed.Length)
        {
            _parts.Traffic.AddPutSkipped(placed.Length - stores.Length);
        }

        return stores;
    }

    /// <summary>The blocks of each store node that have the same attributes.</summary>
    private Dictionary<(Peer Store, BlockAttributes Attributes), List<int>> GroupPuts(
        ReadOnlySpan<BlockKey> groupKeys, ReadOnlySpan<BlockAttributes> attributes)
    {
        Dictionary<(Peer, BlockAttributes), List<int>> groups = [];
        for (var i = 0; i < groupKeys.Length; i++)
        {
            foreach (var store in StoresFor(groupKeys[i], attributes[i].Class))
            {
                Add(groups, (store, attributes[i]), i);
            }
        }

        return groups;
    }

    private bool TryPut(SplitTransfer transfer, Peer store, int[] indices, PutBlocks blocks)
    {
        // Where this process stores the blocks itself, they are saved whatever becomes of the put.
        if (!_puts.TryBegin(
            store, blocks, isStored => EndSave(transfer, indices, isStored || _local is not null ? indices.Length : 0)))
        {
            return false;
        }

        transfer.Begin();
        return true;
    }
}
