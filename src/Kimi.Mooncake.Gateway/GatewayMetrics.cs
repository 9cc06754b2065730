using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Kimi.Mooncake.Cluster;

namespace Kimi.Mooncake.Gateway;

/// <summary>What the gateway itself counts, and the text of <c>/metrics</c>.</summary>
internal sealed class GatewayMetrics
{
    private const string Prefix = "mooncake_";

    private static readonly double[] FirstTokenBounds =
    [
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
        2560,
    ];

    private static readonly double[] InterTokenBounds =
        [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];

    private static readonly double[] RequestBounds =
        [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];

    // Keys are our own routes and statuses, so their number is bounded.
    private readonly ConcurrentDictionary<(string Endpoint, int Status), long> _requests = new();
    private long _inFlight;
    private long _promptTokens;
    private long _cachedTokens;
    private long _completionTokens;

    public Histogram FirstToken { get; } = new(
        Prefix + "time_to_first_token_seconds", "Time from a request's arrival to its first token.", FirstTokenBounds);

    public Histogram InterToken { get; } = new(
        Prefix + "inter_token_latency_seconds", "Time between a choice's tokens.", InterTokenBounds);

    public Histogram Request { get; } = new(
        Prefix + "e2e_request_latency_seconds", "Time from a completion request's arrival to its end.", RequestBounds);

    public void RequestStarted() => Interlocked.Increment(ref _inFlight);

    public void RequestEnded(string endpoint, int status)
    {
        Interlocked.Decrement(ref _inFlight);
        _requests.AddOrUpdate((endpoint, status), 1, (_, count) => count + 1);
    }

    public void CountTokens(long prompt, long cached, long completion)
    {
        Interlocked.Add(ref _promptTokens, prompt);
        Interlocked.Add(ref _cachedTokens, cached);
        Interlocked.Add(ref _completionTokens, completion);
    }

    /// <summary>Prometheus text format 0.0.4 of the worker's metrics and the gateway's own.</summary>
    public string Write(WorkerStatus status)
    {
        var text = new StringBuilder();
        var written = new HashSet<string>(StringComparer.Ordinal);
        foreach (var metric in status.Metrics)
        {
            WriteOne(text, written, metric);
        }

        WriteGauge("worker_ready", "Whether the worker accepts requests.", status.Ready ? 1 : 0);
        WriteGauge("requests_waiting", "Requests that wait for admission.", status.Waiting);
        WriteGauge("requests_running", "Requests that are prefilled or decoded.", status.Running);
        WriteGauge("kv_blocks_total", "Blocks of the pool.", status.BlocksTotal);
        WriteGauge("kv_blocks_free", "Blocks that hold nothing.", status.BlocksFree);
        WriteGauge("kv_blocks_cached", "Blocks that hold an unused cached prefix.", status.BlocksCached);
        WriteGauge("kv_blocks_held", "Blocks that a request, load or save holds.", status.BlocksHeld);
        WriteGauge("http_requests_in_flight", "HTTP requests in progress.", Interlocked.Read(ref _inFlight));
        WriteCounter("gateway_prompt_tokens_total", "Prompt tokens of finished requests.", ref _promptTokens);
        WriteCounter("gateway_cached_tokens_total", "Prompt tokens whose prefill was skipped.", ref _cachedTokens);
        WriteCounter("gateway_completion_tokens_total", "Tokens generated.", ref _completionTokens);
        WriteRequests(text);
        FirstToken.Write(text);
        InterToken.Write(text);
        Request.Write(text);
        return text.ToString();

        void WriteGauge(string name, string help, double value) =>
            WriteOne(text, written, new Metric(name, IsCounter: false, help, value));

        void WriteCounter(string name, string help, ref long value) =>
            WriteOne(text, written, new Metric(name, IsCounter: true, help, Interlocked.Read(ref value)));
    }

    /// <summary>A name may stand once in the text; the worker's own figure wins.</summary>
    private static void WriteOne(StringBuilder text, HashSet<string> written, Metric metric)
    {
        if (!written.Add(metric.Name))
        {
            return;
        }

        var name = Prefix + metric.Name;
        var kind = metric.IsCounter ? "counter" : "gauge";
        text.Append(
            CultureInfo.InvariantCulture,
            $"# HELP {name} {metric.Help}\n# TYPE {name} {kind}\n{name} {metric.Value:R}\n");
    }

    private void WriteRequests(StringBuilder text)
    {
        const string Name = Prefix + "http_requests_total";
        text.Append("# HELP " + Name + " HTTP requests that ended.\n# TYPE " + Name + " counter\n");
        foreach (var ((endpoint, status), count) in _requests.OrderBy(r => r.Key))
        {
            text.Append(
                CultureInfo.InvariantCulture,
                $"{Name}{{endpoint=\"{endpoint}\",status=\"{status}\"}} {count}\n");
        }
    }
}
