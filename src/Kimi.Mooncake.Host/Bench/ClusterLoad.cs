using System.Diagnostics;
using Kimi.Mooncake.Host.Client;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>What the processes of a cluster have counted.</summary>
/// <param name="PrefillTokens">Prompt tokens computed.</param>
/// <param name="SettledTokens">Generated tokens computed again as prompt tokens.</param>
internal readonly record struct ClusterCounters(long PrefillTokens, long SettledTokens)
{
    public static ClusterCounters operator -(ClusterCounters left, ClusterCounters right) =>
        new(left.PrefillTokens - right.PrefillTokens, left.SettledTokens - right.SettledTokens);

    public static ClusterCounters operator +(ClusterCounters left, ClusterCounters right) =>
        new(left.PrefillTokens + right.PrefillTokens, left.SettledTokens + right.SettledTokens);
}

/// <summary>
/// The processes that count and hold blocks, each read from its own <c>/health</c> and <c>/metrics</c>, so that no
/// figure is older than the question.
/// </summary>
internal sealed class ClusterLoad(IReadOnlyList<CompletionClient> processes)
{
    private const string PrefillMetric = "mooncake_prefill_tokens_computed_total";
    private const string SettledMetric = "mooncake_settled_tokens_total";

    private static readonly TimeSpan EmptyTimeMax = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(100);

    /// <summary>Sum over all processes.</summary>
    public async Task<ClusterCounters> CountersAsync(CancellationToken cancellationToken)
    {
        var sum = default(ClusterCounters);
        foreach (var process in processes)
        {
            var metrics = await process.MetricsAsync(cancellationToken).ConfigureAwait(false);
            sum += new ClusterCounters((long)metrics.Get(PrefillMetric), (long)metrics.Get(SettledMetric));
        }

        return sum;
    }

    /// <summary>Waits until nothing waits, runs or holds a block anywhere.</summary>
    /// <returns>What is left after the longest wait, for people; empty when all is well.</returns>
    public async Task<IReadOnlyList<string>> UntilEmptyAsync(CancellationToken cancellationToken)
    {
        var start = Stopwatch.GetTimestamp();
        while (true)
        {
            var left = await LeftAsync(cancellationToken).ConfigureAwait(false);
            if (left.Count == 0 || Stopwatch.GetElapsedTime(start) > EmptyTimeMax)
            {
                return left;
            }

            await Task.Delay(PollInterval, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task<List<string>> LeftAsync(CancellationToken cancellationToken)
    {
        var left = new List<string>();
        foreach (var process in processes)
        {
            var load = await process.LoadAsync(cancellationToken).ConfigureAwait(false);
            if (!load.IsEmpty)
            {
                left.Add(
                    $"{process.Address}: {load.Waiting} waiting, {load.Running} running, " +
                    $"{load.BlocksHeld} blocks held");
            }
        }

        return left;
    }
}
