using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Placement;

namespace Kimi.Mooncake.Conductor;

/// <summary>
/// Which blocks are to be copied from which store node to which: hot blocks, and those of contexts, are to be on as
/// many of the nodes that their placement names as their class says. Orders are bounded, and tried again elsewhere.
/// </summary>
internal sealed class ReplicaPlanner(ReplicaOptions options, PrefixIndex index)
{
    private static readonly TimeSpan LookInterval = TimeSpan.FromSeconds(1);

    private readonly Dictionary<long, OpenOrder> _orders = [];
    private readonly List<ReplicaOrder> _issued = [];
    private ReplicaPlacement _placement = new([]);
    private ClusterNode[] _targets = [];
    private List<ClusterNode> _holders = [];
    private long _lastOrder;

    private sealed record OpenOrder(ReplicaOrder Order, ReplicaGroup Group, MembershipId Holder, TimeSpan IssuedAt);

    public ReplicaHeat Heat { get; } = new(options);

    public ReplicaCounters Counters { get; } = new();

    public ReplicaState State => new(Heat.Count, Heat.Wanted.Count, _orders.Count);

    /// <summary>Takes the store nodes that may take blocks, after each change.</summary>
    public void SetTargets(IEnumerable<ClusterNode> nodes, TimeSpan now)
    {
        var byAddress = nodes.DistinctBy(node => node.Address.Address, StringComparer.Ordinal)
            .ToDictionary(node => node.Address.Address, StringComparer.Ordinal);
        _placement = new ReplicaPlacement(byAddress.Values.Select(
            node => new StoreNodeAddress(node.Address.Address, node.Descriptor.Host)));
        _targets = [.. _placement.Nodes.Select(node => byAddress[node.Address])];
        foreach (var group in Heat.Wanted)
        {
            group.NextLook = now;
        }
    }

    /// <summary>Ends orders that cannot end well, and gives new ones.</summary>
    /// <param name="holders">Store nodes from which blocks can be copied.</param>
    /// <param name="now">The time.</param>
    /// <returns>The orders; valid until the next call.</returns>
    public IReadOnlyList<ReplicaOrder> Plan(List<ClusterNode> holders, TimeSpan now)
    {
        _holders = holders;
        _issued.Clear();
        EndLost(now);
        var looks = Math.Min(Heat.Wanted.Count, ReplicaOptions.GroupsPerStepMax);
        for (; looks > 0 && _orders.Count < options.OrdersMax && Heat.Wanted.First is { } place; looks--)
        {
            Heat.Wanted.RemoveFirst();
            Heat.Wanted.AddLast(place);
            if (place.Value.NextLook <= now)
            {
                Look(place.Value, now);
            }
        }

        return _issued;
    }

    /// <summary>A holder tells what became of an order; of one that is over already nothing follows.</summary>
    public void Report(MembershipId holder, long orderId, int blocks, bool isDone, TimeSpan now)
    {
        if (_orders.TryGetValue(orderId, out var open) && open.Holder == holder)
        {
            Counters.Blocks += blocks;
            End(open, isDone, now);
        }
    }

    /// <summary>Proves the accounting.</summary>
    public string? Fault()
    {
        foreach (var (id, open) in _orders)
        {
            if (open.Group.Tries.GetValueOrDefault(open.Order.Target.Address).Order != id)
            {
                return $"order {id} is not known to its group";
            }
        }

        return _orders.Count > options.OrdersMax ? $"{_orders.Count} orders are open" : null;
    }

    private void EndLost(TimeSpan now)
    {
        var timeout = TimeSpan.FromMilliseconds(options.OrderTimeoutMs);
        foreach (var open in _orders.Values.ToArray())
        {
            var isHolderThere = _holders.Exists(node => node.Membership == open.Holder);
            var isTargetThere = Array.Exists(_targets, node => node.Address == open.Order.Target);
            if (!isHolderThere || !isTargetThere)
            {
                // Nobody's fault but the node's: it is tried again at once, from or to another one.
                Counters.Lost++;
                _orders.Remove(open.Order.Id);
                open.Group.Tries.Remove(open.Order.Target.Address);
                open.Group.NextLook = now;
            }
            else if (now - open.IssuedAt >= timeout)
            {
                End(open, isDone: false, now);
            }
        }
    }

    private void End(OpenOrder open, bool isDone, TimeSpan now)
    {
        Counters.Done += isDone ? 1 : 0;
        Counters.Failed += isDone ? 0 : 1;
        _orders.Remove(open.Order.Id);
        var tried = open.Group.Tries[open.Order.Target.Address];
        // What was stored shows in the target's events; until then, and where it does not, the wait grows.
        var wait = options.OrderRetryMs * (1L << Math.Min(tried.Attempts, ReplicaOptions.RetryDoublingsMax));
        open.Group.Tries[open.Order.Target.Address] =
            new TargetTry(0, tried.Attempts + 1, now + TimeSpan.FromMilliseconds(wait));
        open.Group.NextLook = now;
    }

    private void Look(ReplicaGroup group, TimeSpan now)
    {
        var wanted = group.Wanted(Heat.Rules, now);
        if (wanted.Count == 0)
        {
            Heat.Satisfy(group);
            return;
        }

        Span<int> chosen = stackalloc int[Math.Max(options.HotReplicas, options.ContextReplicas)];
        var count = _placement.Choose(group.Anchor, chosen);
        var isComplete = true;
        for (var rank = 0; rank < count; rank++)
        {
            // What a node has that does not tell its store is not known.
            var target = _targets[chosen[rank]];
            isComplete &= !target.TellsStore || Bring(group, wanted, rank, target, now);
        }

        group.WasComplete |= isComplete;
        group.NextLook = now + LookInterval;
    }

    /// <summary>Sees to it that a target has the blocks that are wanted there.</summary>
    /// <returns>Whether it has them all.</returns>
    private bool Bring(
        ReplicaGroup group, IReadOnlyList<(BlockKey Key, int Depth, bool IsContext)> wanted, int rank,
        ClusterNode target, TimeSpan now)
    {
        if (target.Kv != KvProgress.Following)
        {
            // Its keys are on their way: it would seem to lack everything.
            return false;
        }

        var missing = new List<BlockKey>();
        foreach (var (key, _, isContext) in wanted)
        {
            var replicas = Math.Max(
                isContext ? options.ContextReplicas : 0, group.IsHot(key) ? options.HotReplicas : 0);
            if (rank < replicas && !index.Contains(key, target.Slot))
            {
                missing.Add(key);
            }
        }

        var tried = group.Tries.GetValueOrDefault(target.Address.Address);
        if (missing.Count == 0)
        {
            if (tried.Order == 0)
            {
                group.Tries.Remove(target.Address.Address);
            }

            return true;
        }

        if (tried.Order == 0 && tried.NotBefore <= now && OrdersOf(target) < options.OrdersPerNodeMax
            && _orders.Count < options.OrdersMax && FindHolder(missing, target) is { } holder)
        {
            missing.RemoveAll(key => !index.Contains(key, holder.Slot));
            Issue(group, holder, target, missing, tried, now);
        }

        return false;
    }

    private ClusterNode? FindHolder(List<BlockKey> keys, ClusterNode target)
    {
        ClusterNode? best = null;
        var (bestKeys, bestOrders) = (0, 0);
        foreach (var node in _holders)
        {
            var orders = OrdersOf(node);
            if (node == target || orders >= options.OrdersPerNodeMax)
            {
                continue;
            }

            var has = keys.Count(key => index.Contains(key, node.Slot));
            if (has > bestKeys || (has > 0 && has == bestKeys && orders < bestOrders))
            {
                (best, bestKeys, bestOrders) = (node, has, orders);
            }
        }

        return best;
    }

    private int OrdersOf(ClusterNode node)
    {
        var count = 0;
        foreach (var open in _orders.Values)
        {
            count += open.Order.Holder == node.Address || open.Order.Target == node.Address ? 1 : 0;
        }

        return count;
    }

    private void Issue(
        ReplicaGroup group, ClusterNode holder, ClusterNode target, List<BlockKey> keys, TargetTry tried, TimeSpan now)
    {
        var order = new ReplicaOrder(++_lastOrder, holder.Address, target.Address, keys);
        _orders.Add(order.Id, new OpenOrder(order, group, holder.Membership, now));
        group.Tries[target.Address.Address] = tried with { Order = order.Id };
        Counters.Orders++;
        // It was complete before, so a node that had it is lost, or dropped it.
        Counters.Restoring += group.WasComplete ? 1 : 0;
        _issued.Add(order);
    }
}

/// <summary>What the planner did since the start.</summary>
internal sealed class ReplicaCounters
{
    public long Orders { get; set; }

    public long Restoring { get; set; }

    public long Done { get; set; }

    public long Failed { get; set; }

    public long Lost { get; set; }

    public long Blocks { get; set; }
}
