using System.Globalization;
using System.Text;
using Kimi.Mooncake.Cluster;

namespace Kimi.Mooncake.Gateway;

/// <summary>
/// A page in the Prometheus text format 0.0.4. A name stands once in it, with labels in one run: the first wins.
/// </summary>
internal sealed class MetricsPage
{
    public const string Prefix = "mooncake_";

    private readonly HashSet<string> _written = new(StringComparer.Ordinal);
    private string _last = "";

    public StringBuilder Text { get; } = new();

    /// <summary>A worker's own figures, and what every worker's status says.</summary>
    public void AddWorker(WorkerStatus status)
    {
        foreach (var metric in status.Metrics)
        {
            Add(metric.Name, metric.IsCounter, metric.Help, metric.Value, metric.Labels);
        }

        AddGauge("worker_ready", "Whether the worker accepts requests.", status.Ready ? 1 : 0);
        AddGauge("requests_waiting", "Requests that wait for admission.", status.Waiting);
        AddGauge("requests_running", "Requests that are prefilled or decoded.", status.Running);
        AddGauge("kv_blocks_total", "Blocks of the pool.", status.BlocksTotal);
        AddGauge("kv_blocks_free", "Blocks that hold nothing.", status.BlocksFree);
        AddGauge("kv_blocks_cached", "Blocks that hold an unused cached prefix.", status.BlocksCached);
        AddGauge("kv_blocks_held", "Blocks that a request, load or save holds.", status.BlocksHeld);
        if (status.Cluster is { } cluster)
        {
            AddNodes(cluster.Nodes);
        }
    }

    /// <summary>One figure of a name, or with labels one of several.</summary>
    public void Add(string name, bool isCounter, string help, double value, string labels = "")
    {
        var full = Prefix + name;
        if (_written.Add(name))
        {
            var kind = isCounter ? "counter" : "gauge";
            Text.Append(CultureInfo.InvariantCulture, $"# HELP {full} {help}\n# TYPE {full} {kind}\n");
        }
        else if (name != _last || labels.Length == 0)
        {
            return;
        }

        _last = name;
        var series = labels.Length == 0 ? full : $"{full}{{{labels}}}";
        Text.Append(CultureInfo.InvariantCulture, $"{series} {value:R}\n");
    }

    /// <summary>What each node says of itself, under other names than the sums, which would count it twice.</summary>
    private void AddNodes(IReadOnlyList<NodeStatus> nodes)
    {
        foreach (var node in nodes)
        {
            Add("node_requests_routed", false, "Requests that the conductor sent to the node and that have not ended.",
                node.Routed, LabelOf(node));
        }

        foreach (var node in nodes)
        {
            Add("node_blocks_indexed", false, "Blocks of the node that the conductor knows of.",
                node.IndexedBlocks, LabelOf(node));
        }

        var series = nodes.SelectMany(node => node.Metrics, (node, metric) => (node, metric));
        foreach (var name in series.GroupBy(pair => pair.metric.Name))
        {
            foreach (var (node, metric) in name)
            {
                Add($"node_{metric.Name}", metric.IsCounter, metric.Help, metric.Value, LabelOf(node));
            }
        }
    }

    private static string LabelOf(NodeStatus node)
    {
        var id = node.NodeId.Replace(@"\", @"\\").Replace("\"", "\\\"").Replace("\n", @"\n");
        return $"node=\"{id}\"";
    }

    private void AddGauge(string name, string help, double value) => Add(name, isCounter: false, help, value);
}
