using System.Diagnostics;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Commands;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Processes;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Transfer;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>
/// A cluster that is changed while conversations are held with it: two decode workers are added and one prefill worker
/// is drained. No request may fail.
/// </summary>
internal sealed class ScaleBench(ServePlan plan, RunningCluster cluster, Terminal terminal)
{
    private const int WorkersAdded = 2;
    private const string TokensMetric = "mooncake_engine_generated_tokens_total";

    // The workers are added after this part of the answers, and the other one drained after the next.
    private const int Parts = 3;

    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(50);

    /// <summary>Holds the conversations and changes the cluster.</summary>
    /// <exception cref="CommandException">The cluster has no decode worker, or not two prefill workers.</exception>
    public async Task<ScaleReport> RunAsync(CancellationToken cancellationToken)
    {
        var drained = Last(ServeRoles.Prefill, atLeast: 2);
        var added = Added(Last(ServeRoles.Decode, atLeast: 1));
        using var target = cluster.OpenTarget();
        var bench = new ServeBench(plan, target.Gateway, target.Load, terminal);
        var start = Stopwatch.GetTimestamp();
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var holding = bench.RunAsync(ending.Token);
        try
        {
            await UntilAsync(bench, holding, 1, cancellationToken).ConfigureAwait(false);
            await cluster.AddAsync(added, cancellationToken).ConfigureAwait(false);
            var addedAt = Stopwatch.GetElapsedTime(start).TotalSeconds;
            var nodes = cluster.Processes.Where(process => added.Contains(process.Config)).ToList();
            nodes.ForEach(node => target.Add(node.Http));
            terminal.Remark($"{addedAt:0.0} s: added {string.Join(" and ", added.Select(config => config.Name))}");

            await UntilAsync(bench, holding, 2, cancellationToken).ConfigureAwait(false);
            await ConductorOption.CallAsync(
                cluster.Conductor!.AbsoluteUri, new PeerOptions(),
                client => DrainCommand.DrainAsync(client, drained.Config.Name, terminal, cancellationToken),
                cancellationToken).ConfigureAwait(false);
            var drainedAt = Stopwatch.GetElapsedTime(start).TotalSeconds;
            terminal.Remark($"{drainedAt:0.0} s: drained {drained.Config.Name}");
            var report = await holding.ConfigureAwait(false);
            return Report(
                report, bench.Served, nodes, drained, (addedAt, drainedAt),
                await TokensAsync(nodes, cancellationToken).ConfigureAwait(false));
        }
        finally
        {
            await ending.CancelAsync().ConfigureAwait(false);
            await ((Task)holding).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static ScaleReport Report(
        ServeReport report, IReadOnlyCollection<ServedTurn> served, List<ClusterProcess> nodes, ClusterProcess drained,
        (double Added, double Drained) at, long tokensOfAdded)
    {
        var before = served.Where(turn => turn.EndS <= at.Added).ToList();
        var after = served.Where(turn => turn.EndS > at.Drained).ToList();
        var afterS = Math.Max(report.DurationS - at.Drained, double.Epsilon);
        return new ScaleReport
        {
            Added = [.. nodes.Select(node => node.Config.Name)],
            Drained = drained.Config.Name,
            AddedAtS = at.Added,
            DrainedAtS = at.Drained,
            RequestsPerSBefore = before.Count / at.Added,
            RequestsPerSAfter = after.Count / afterS,
            CompletionTokensPerSBefore = before.Sum(turn => turn.Asked.CompletionTokens) / at.Added,
            CompletionTokensPerSAfter = after.Sum(turn => turn.Asked.CompletionTokens) / afterS,
            TokensOfAdded = tokensOfAdded,
            Serve = report,
        };
    }

    private static async Task<long> TokensAsync(List<ClusterProcess> nodes, CancellationToken cancellationToken)
    {
        var sum = 0L;
        foreach (var node in nodes)
        {
            using var client = new CompletionClient(node.Http);
            var metrics = await client.MetricsAsync(cancellationToken).ConfigureAwait(false);
            sum += (long)metrics.Get(TokensMetric);
        }

        return sum;
    }

    private ClusterProcess Last(ServeRoles role, int atLeast)
    {
        var processes = cluster.Processes.Where(process => process.Config.Roles.HasFlag(role)).ToList();
        return processes.Count >= atLeast
            ? processes[^1]
            : throw new CommandException(
                $"the cluster has {processes.Count} processes with the role {role}; expected at least {atLeast}");
    }

    private List<ProcessConfig> Added(ClusterProcess like)
    {
        var port = cluster.Processes.Max(process => process.Config.Port) + 2;
        return
        [
            .. Enumerable.Range(0, WorkersAdded).Select(index =>
                like.Config with { Name = $"added-{index + 1}", Port = port + (2 * index) }),
        ];
    }

    /// <summary>Waits for a part of the answers, or for the end of everything.</summary>
    private async Task UntilAsync(ServeBench bench, Task holding, int part, CancellationToken cancellationToken)
    {
        var wanted = plan.Conversations * plan.Turns * part / Parts;
        while (bench.Served.Count < wanted && !holding.IsCompleted)
        {
            await Task.Delay(PollInterval, cancellationToken).ConfigureAwait(false);
        }
    }
}
