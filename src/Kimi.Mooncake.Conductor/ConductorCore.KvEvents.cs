using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

// What nodes tell of the keys in their pools.
public sealed partial class ConductorCore
{
    /// <summary>A node tells which keys came to its pool and which left.</summary>
    /// <param name="membership">From its registration.</param>
    /// <param name="batch">The events.</param>
    /// <param name="now">The time.</param>
    /// <exception cref="ArgumentException">The batch contradicts itself.</exception>
    public KvEventResult Apply(MembershipId membership, in KvEventBatch batch, TimeSpan now)
    {
        if (!_members.TryGetValue(membership, out var node))
        {
            return KvEventResult.NotMember;
        }

        node.LastSeen = now;
        if (batch.SnapshotBegin)
        {
            _index.RemoveNode(node.Slot);
            node.Kv = KvProgress.InSnapshot;
        }

        return node.Kv switch
        {
            KvProgress.InSnapshot => ApplySnapshot(node, batch),
            KvProgress.Following => ApplyChanges(node, batch),
            KvProgress.SnapshotAskedFor => KvEventResult.AwaitsSnapshot,
            _ => AskForSnapshot(node),
        };
    }

    private KvEventResult ApplySnapshot(ClusterNode node, in KvEventBatch batch)
    {
        if (batch.Removed.Length > 0)
        {
            throw new ArgumentException($"a snapshot of {batch.Keys.Length} keys says that some were removed");
        }

        foreach (ref readonly var key in batch.Keys)
        {
            AddKey(key, node);
        }

        if (batch.SnapshotEnd)
        {
            node.Kv = KvProgress.Following;
            node.KvNextSequence = batch.Sequence + 1;
        }

        return KvEventResult.Applied;
    }

    private KvEventResult ApplyChanges(ClusterNode node, in KvEventBatch batch)
    {
        if (batch.Removed.Length != batch.Keys.Length || batch.SnapshotEnd)
        {
            throw new ArgumentException(
                $"{batch.Keys.Length} keys come with {batch.Removed.Length} marks of removal"
                + (batch.SnapshotEnd ? " and end a snapshot that has not begun" : ""));
        }

        if (batch.Sequence != node.KvNextSequence)
        {
            return AskForSnapshot(node);
        }

        for (var index = 0; index < batch.Keys.Length; index++)
        {
            if (batch.Removed[index])
            {
                _index.Remove(batch.Keys[index], node.Slot);
            }
            else
            {
                AddKey(batch.Keys[index], node);
            }
        }

        node.KvNextSequence += (ulong)batch.Keys.Length;
        return KvEventResult.Applied;
    }

    private void AddKey(in BlockKey key, ClusterNode node)
    {
        _index.Add(key, node.Slot);
        _flights.Arrived(key);
    }

    private KvEventResult AskForSnapshot(ClusterNode node)
    {
        _counters.KvResyncs++;
        node.Kv = KvProgress.SnapshotAskedFor;
        return KvEventResult.ResyncWanted;
    }
}
