using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Placement;

namespace Kimi.Mooncake.Conductor.Tests;

/// <summary>
/// Plays a script of bytes against a conductor with store nodes that obey, fail, forget and die, beside a model that
/// knows which node has what. Afterwards everything stays as it is until the conductor orders nothing more.
/// </summary>
internal sealed class ReplicaRun(byte[] script)
{
    private const int StoreNodes = 6;
    private const int Hosts = 3;
    private const int Documents = 4;
    private const int DocumentBlocks = 40;

    private static readonly ReplicaOptions Options = new()
    {
        HotRequestsPerSecond = 0.3,
        HotWindowSeconds = 10,
        HotReplicas = 3,
        ContextReplicas = 2,
        OrdersMax = 5,
        OrdersPerNodeMax = 2,
        OrderTimeoutMs = 3000,
        OrderRetryMs = 100,
    };

    private readonly TestCluster _cluster = new(replicas: Options);
    private readonly Dictionary<string, HashSet<BlockKey>> _alive = [];
    private readonly Dictionary<long, ReplicaOrder> _open = [];
    private readonly HashSet<int> _contexts = [];
    private int _place;

    public List<string> Log { get; } = [];

    /// <summary>Orders given over the run.</summary>
    public int Orders { get; private set; }

    public void Play()
    {
        _cluster.Join("w", NodeRoles.Prefill | NodeRoles.Decode);
        for (var node = 0; node < StoreNodes; node++)
        {
            Join($"s{node}");
        }

        while (_place < script.Length)
        {
            Step();
            TakeOrders();
            _cluster.Core.CheckIntegrity();
        }

        Converge();
    }

    private int Next(int end) => _place < script.Length ? script[_place++] % end : 0;

    private void Step()
    {
        var node = $"s{Next(StoreNodes)}";
        switch (Next(12))
        {
            case 0 when _alive.Count > 2 && _alive.Remove(node):
                _cluster.Core.Disconnect(_cluster.MemberOf(node), _cluster.Now);
                break;
            case 1 when !_alive.ContainsKey(node):
                Join(node);
                break;
            case 2 when _alive.TryGetValue(node, out var keys) && keys.Count > 0:
                var gone = keys.Order(Comparer<BlockKey>.Create(
                    (one, other) => string.CompareOrdinal(one.ToString(), other.ToString()))).First();
                keys.Remove(gone);
                _cluster.Removed(node, gone);
                break;
            case 3 or 4 when _alive.ContainsKey(node):
                Add(node, TestCluster.Keys(Next(Documents), 1 + Next(DocumentBlocks)));
                break;
            case 5:
                _contexts.Add(0);
                Route(0, DocumentBlocks);
                break;
            case 6 or 7 or 8 when _open.Count > 0:
                End(_open.Values.ElementAt(Next(_open.Count)), isDone: Next(3) > 0);
                break;
            case 9:
                Advance(1 + Next(40) * 100);
                break;
            default:
                Route(Next(Documents), 0);
                break;
        }
    }

    private void Join(string node)
    {
        _cluster.Join(node, NodeRoles.Store, host: $"host-{(node[1] - '0') % Hosts}");
        _alive[node] = [];
    }

    private void Add(string node, IEnumerable<BlockKey> keys)
    {
        BlockKey[] fresh = [.. keys.Where(_alive[node].Add)];
        _cluster.Added(node, fresh);
    }

    private void Route(int document, int contextBlocks)
    {
        var query = TestCluster.Query(TestCluster.Keys(document, DocumentBlocks));
        query = query with { ContextBlocks = contextBlocks };
        _cluster.Release(_cluster.Submit(query));
    }

    private void Advance(int milliseconds)
    {
        foreach (var id in _alive.Keys.Append("w"))
        {
            _cluster.Load(id, TestCluster.Idle());
        }

        _cluster.Advance(milliseconds);
    }

    private void End(ReplicaOrder order, bool isDone)
    {
        _open.Remove(order.Id);
        if (isDone && _alive.ContainsKey(order.Target.NodeId))
        {
            var held = _alive.GetValueOrDefault(order.Holder.NodeId) ?? [];
            Add(order.Target.NodeId, order.Keys.Where(held.Contains));
        }

        _cluster.Core.ReportReplicas(_cluster.MemberOf(order.Holder.NodeId), order.Id, 0, isDone, _cluster.Now);
    }

    private void TakeOrders()
    {
        foreach (var e in _cluster.TakeEvents())
        {
            if (e.Order is { } order)
            {
                Orders++;
                Log.Add($"{_cluster.Now} {order.Id} {order.Holder.NodeId} {order.Target.NodeId} {order.Keys.Count}");
                Check(order);
                _open.Add(order.Id, order);
            }
        }

        // What the conductor counts is what may be under way: orders that it gave up are not.
        Assert.That(_cluster.Core.Replicas.Orders, Is.LessThanOrEqualTo(Options.OrdersMax));
    }

    private void Check(ReplicaOrder order)
    {
        Assert.That(order.Holder.NodeId, Is.Not.EqualTo(order.Target.NodeId));
        Assert.That(order.Keys, Is.Not.Empty.And.Unique);
        Assert.That(_alive, Contains.Key(order.Target.NodeId).And.ContainKey(order.Holder.NodeId));
        Assert.That(order.Keys, Is.SubsetOf(_alive[order.Holder.NodeId]), "the holder has them");
        Assert.That(order.Keys.Any(_alive[order.Target.NodeId].Contains), Is.False, "no second one on a node");
        Assert.That(TargetsOf(GroupOf(order.Keys[0]), Options.HotReplicas), Contains.Item(order.Target.NodeId));
    }

    private static BlockKey GroupOf(BlockKey key)
    {
        for (var document = 0; ; document++)
        {
            var index = Array.IndexOf(TestCluster.Keys(document, DocumentBlocks), key);
            if (index >= 0)
            {
                return TestCluster.Key(document, PlacementGroup.FirstOf(index));
            }
        }
    }

    private string[] TargetsOf(BlockKey group, int replicas)
    {
        var placement = new ReplicaPlacement(
            _cluster.Core.StoreNodes.Select(node => new StoreNodeAddress(node.Address, node.Host)));
        var chosen = new int[replicas];
        var count = placement.Choose(group, chosen);
        var nodes = chosen[..count].Select(node => placement.Nodes[node]).ToArray();
        var hosts = placement.Nodes.Select(node => node.Host).Distinct().Count();
        Assert.That(nodes, Is.Unique);
        Assert.That(
            nodes.Select(node => node.Host).Distinct().Count(), Is.EqualTo(Math.Min(count, hosts)),
            "two on one host only where there are no more hosts");
        return [.. nodes.Select(node => node.Address["http://".Length..])];
    }

    private void Converge()
    {
        // A document stays hot while it is used; the context is wanted whether or not it is.
        var isQuiet = false;
        for (var round = 0; round < 400 && !isQuiet; round++)
        {
            Route(1, 0);
            Advance(200);
            TakeOrders();
            isQuiet = round > 100 && _open.Count == 0 && _cluster.Core.Replicas.Orders == 0;
            foreach (var order in _open.Values.ToArray())
            {
                End(order, isDone: true);
                TakeOrders();
            }
        }

        Assert.That(isQuiet, "orders without end");
        Require(1, Options.HotReplicas);
        if (_contexts.Contains(0))
        {
            Require(0, Options.ContextReplicas);
        }
    }

    private void Require(int document, int replicas)
    {
        for (var block = 0; block < DocumentBlocks; block++)
        {
            var key = TestCluster.Key(document, block);
            if (_alive.Values.Any(keys => keys.Contains(key)))
            {
                foreach (var target in TargetsOf(TestCluster.Key(document, PlacementGroup.FirstOf(block)), replicas))
                {
                    Assert.That(_alive[target], Contains.Item(key), $"block {block} of {document} at {target}");
                }
            }
        }
    }
}
