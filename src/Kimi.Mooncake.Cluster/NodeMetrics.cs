using Kimi.Mooncake.Conductor;

namespace Kimi.Mooncake.Cluster;

/// <summary>
/// The last counters and gauges of every node, and their sums. What nodes that are gone had counted stays in the sums,
/// so that counters only grow. Safe for use by several threads.
/// </summary>
internal sealed class NodeMetrics
{
    private readonly Lock _lock = new();
    private readonly Dictionary<(string NodeId, ulong Epoch), IReadOnlyList<Metric>> _nodes = [];
    private readonly Dictionary<string, Metric> _retired = [];

    public void Update(NodeDescriptor node, IReadOnlyList<Metric> metrics)
    {
        lock (_lock)
        {
            _nodes[KeyOf(node)] = metrics;
        }
    }

    public IReadOnlyList<Metric> Of(NodeDescriptor node)
    {
        lock (_lock)
        {
            return _nodes.GetValueOrDefault(KeyOf(node)) ?? [];
        }
    }

    /// <summary>Keeps of nodes that are not among these only what they had counted.</summary>
    public void Retire(IReadOnlyList<NodeState> present)
    {
        var keys = present.Select(node => KeyOf(node.Descriptor)).ToHashSet();
        lock (_lock)
        {
            foreach (var (key, metrics) in _nodes.Where(node => !keys.Contains(node.Key)).ToArray())
            {
                _nodes.Remove(key);
                foreach (var metric in metrics.Where(metric => metric.IsCounter))
                {
                    Add(_retired, metric);
                }
            }
        }
    }

    /// <summary>One metric for each name, in the order in which nodes have them.</summary>
    public IReadOnlyList<Metric> Sum()
    {
        lock (_lock)
        {
            var sums = new Dictionary<string, Metric>(_retired);
            foreach (var metric in _nodes.Values.SelectMany(metrics => metrics))
            {
                Add(sums, metric);
            }

            return [.. sums.Values];
        }
    }

    private static void Add(Dictionary<string, Metric> sums, Metric metric) =>
        sums[metric.Name] = sums.TryGetValue(metric.Name, out var sum)
            ? sum with { Value = sum.Value + metric.Value }
            : metric;

    private static (string NodeId, ulong Epoch) KeyOf(NodeDescriptor node) => (node.NodeId, node.Epoch);
}
