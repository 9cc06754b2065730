namespace Kimi.Mooncake.Cluster;

/// <summary>Why a request was routed again.</summary>
internal enum RetryReason
{
    /// <summary>The worker that decodes cannot be reached, broke off, or sent what it may not.</summary>
    WorkerUnavailable,

    /// <summary>The conductor says that a worker is lost.</summary>
    NodeLost,

    /// <summary>The worker that prefills failed.</summary>
    PrefillUnavailable,

    /// <summary>The worker takes no new work.</summary>
    Draining,

    /// <summary>The worker's queue is full.</summary>
    QueueFull,

    /// <summary>The worker gave the generation up.</summary>
    Failed,
}

/// <summary>How often requests were tried again, by reason. Safe for use by several threads.</summary>
internal sealed class RetryCounters
{
    private static readonly (RetryReason Reason, string Label)[] Labels =
    [
        (RetryReason.WorkerUnavailable, "worker_unavailable"),
        (RetryReason.NodeLost, "node_lost"),
        (RetryReason.PrefillUnavailable, "prefill_unavailable"),
        (RetryReason.Draining, "draining"),
        (RetryReason.QueueFull, "queue_full"),
        (RetryReason.Failed, "failed"),
    ];

    private readonly long[] _retries = new long[Labels.Length];
    private long _resumed;
    private long _overBudget;

    public void Retried(RetryReason reason, bool hasTokens)
    {
        Interlocked.Increment(ref _retries[(int)reason]);
        if (hasTokens)
        {
            Interlocked.Increment(ref _resumed);
        }
    }

    public void OverBudget() => Interlocked.Increment(ref _overBudget);

    public long Of(RetryReason reason) => Interlocked.Read(ref _retries[(int)reason]);

    public IEnumerable<Metric> Metrics()
    {
        foreach (var (reason, label) in Labels)
        {
            yield return new Metric(
                "request_retries_total", IsCounter: true, "Requests that were routed again after a failure.",
                Of(reason), $"reason=\"{label}\"");
        }

        yield return new Metric(
            "request_resumptions_total", IsCounter: true, "Of these, with tokens that the client had already.",
            Interlocked.Read(ref _resumed));
        yield return new Metric(
            "request_retries_over_budget_total", IsCounter: true,
            "Requests that failed because the budget of retries was empty.", Interlocked.Read(ref _overBudget));
    }
}
