namespace Kimi.Mooncake.Conductor;

// Replicas of hot blocks and of contexts on store nodes.
public sealed partial class ConductorCore
{
    private readonly List<ClusterNode> _holders = [];

    /// <summary>What is known of replicas at the moment.</summary>
    public ReplicaState Replicas => _replicas.State;

    /// <summary>A store node tells what became of an order; of one that is over already nothing follows.</summary>
    /// <param name="membership">From its registration.</param>
    /// <param name="orderId">Number of the order.</param>
    /// <param name="blocks">Blocks that the target stored.</param>
    /// <param name="isDone">Whether the target has all of them now.</param>
    /// <param name="now">The time.</param>
    public void ReportReplicas(MembershipId membership, long orderId, int blocks, bool isDone, TimeSpan now)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(blocks);
        if (_members.ContainsKey(membership))
        {
            _replicas.Report(membership, orderId, blocks, isDone, now);
            PlanReplicas(now);
        }
    }

    private void PlanReplicas(TimeSpan now)
    {
        if (_replicas.State is { WantedGroups: 0, Orders: 0 })
        {
            return;
        }

        _holders.Clear();
        foreach (var node in _nodes)
        {
            if (node.TellsStore && node.IsAlive(now, _suspectAfter))
            {
                _holders.Add(node);
            }
        }

        foreach (var order in _replicas.Plan(_holders, now))
        {
            _events.Add(new ConductorEvent(
                ConductorEventKind.ReplicaOrdered, null, MembershipOf(order.Holder), order.Holder.NodeId, "")
            {
                Order = order,
            });
        }
    }

    private MembershipId MembershipOf(NodeAddress node) =>
        FindPlace(node.NodeId) is var place and >= 0 ? _nodes[place].Membership : default;
}
