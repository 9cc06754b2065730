using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Gateway.OpenAi;
using Kimi.Mooncake.Gateway.Tenancy;

namespace Kimi.Mooncake.Gateway;

/// <summary>What the gateway itself counts, and the text of <c>/metrics</c>.</summary>
internal sealed class GatewayMetrics
{
    private const string Prefix = MetricsPage.Prefix;

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
    private readonly SavingsLedger _savings;
    private long _inFlight;
    private long _contextUses;
    private long _contextTokensSaved;

    /// <param name="savings">What each tenant used and saved.</param>
    public GatewayMetrics(SavingsLedger savings) => _savings = savings;

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

    /// <summary>A completion request was answered.</summary>
    public void Count(string tenant, TokenUsage usage) => _savings.Add(tenant, usage);

    public void CountContextUse(long tokensSaved)
    {
        Interlocked.Increment(ref _contextUses);
        Interlocked.Add(ref _contextTokensSaved, tokensSaved);
    }

    /// <summary>Prometheus text format 0.0.4 of the worker's metrics and the gateway's own.</summary>
    public string Write(WorkerStatus status)
    {
        var page = new MetricsPage();
        page.AddWorker(status);
        page.Add("http_requests_in_flight", false, "HTTP requests in progress.", Interlocked.Read(ref _inFlight));
        _savings.AddTo(page);
        page.Add(
            "gateway_context_uses_total", true, "Finished requests that used a context.",
            Interlocked.Read(ref _contextUses));
        page.Add(
            "gateway_context_tokens_saved_total", true, "Tokens of contexts whose prefill was skipped.",
            Interlocked.Read(ref _contextTokensSaved));
        WriteRequests(page.Text);
        FirstToken.Write(page.Text);
        InterToken.Write(page.Text);
        Request.Write(page.Text);
        return page.Text.ToString();
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
