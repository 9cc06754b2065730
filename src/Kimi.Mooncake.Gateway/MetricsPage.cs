using System.Globalization;
using System.Text;
using Kimi.Mooncake.Cluster;

namespace Kimi.Mooncake.Gateway;

/// <summary>A page in the Prometheus text format 0.0.4. A name stands once in it: the first figure wins.</summary>
internal sealed class MetricsPage
{
    public const string Prefix = "mooncake_";

    private readonly HashSet<string> _written = new(StringComparer.Ordinal);

    public StringBuilder Text { get; } = new();

    /// <summary>A worker's own figures, and what every worker's status says.</summary>
    public void AddWorker(WorkerStatus status)
    {
        foreach (var metric in status.Metrics)
        {
            Add(metric.Name, metric.IsCounter, metric.Help, metric.Value);
        }

        AddGauge("worker_ready", "Whether the worker accepts requests.", status.Ready ? 1 : 0);
        AddGauge("requests_waiting", "Requests that wait for admission.", status.Waiting);
        AddGauge("requests_running", "Requests that are prefilled or decoded.", status.Running);
        AddGauge("kv_blocks_total", "Blocks of the pool.", status.BlocksTotal);
        AddGauge("kv_blocks_free", "Blocks that hold nothing.", status.BlocksFree);
        AddGauge("kv_blocks_cached", "Blocks that hold an unused cached prefix.", status.BlocksCached);
        AddGauge("kv_blocks_held", "Blocks that a request, load or save holds.", status.BlocksHeld);
    }

    public void Add(string name, bool isCounter, string help, double value)
    {
        if (_written.Add(name))
        {
            var full = Prefix + name;
            var kind = isCounter ? "counter" : "gauge";
            Text.Append(
                CultureInfo.InvariantCulture, $"# HELP {full} {help}\n# TYPE {full} {kind}\n{full} {value:R}\n");
        }
    }

    private void AddGauge(string name, string help, double value) => Add(name, isCounter: false, help, value);
}
