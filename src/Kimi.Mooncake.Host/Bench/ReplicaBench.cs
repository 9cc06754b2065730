using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Commands;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Processes;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Transfer;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>
/// Documents that many ask about, at a steady rate, while one of the store nodes that keep their blocks is killed. No
/// client may notice but by waiting.
/// </summary>
internal sealed class ReplicaBench : IDisposable
{
    private const int FaultsKeptMax = 10;
    private const int FactsPerDocument = 6;

    private readonly ReplicaPlan _plan;
    private readonly RunningCluster _cluster;
    private readonly Terminal _terminal;
    private readonly CompletionClient _client;
    private readonly NeedleDocument[] _documents;
    private readonly HitRate _hits;
    private readonly ConcurrentBag<(double BeganS, AskResult Asked)> _asked = [];
    private readonly ConcurrentQueue<string> _faults = new();
    private long _measuredFrom;
    private int _wrong;
    private int _failed;
    private int _stuck;

    public ReplicaBench(ReplicaPlan plan, RunningCluster cluster, Terminal terminal)
    {
        _plan = plan;
        _cluster = cluster;
        _terminal = terminal;
        _client = new CompletionClient(cluster.Gateway);
        _documents =
        [
            .. Enumerable.Range(0, plan.Documents).Select(document => NeedleDocument.Create(
                plan.DocumentTokens, FactsPerDocument, unchecked((plan.Seed * 1_000_003) + document))),
        ];
        _hits = new HitRate(plan.BeforeSeconds + plan.AfterSeconds);
    }

    /// <summary>Asks, kills, and goes on asking.</summary>
    /// <exception cref="CommandException">The cluster has fewer than two store nodes of their own.</exception>
    public async Task<ReplicaReport> RunAsync(CancellationToken cancellationToken)
    {
        var stores = _cluster.Processes.Where(process => process.Config.Roles == ServeRoles.Store).ToList();
        if (stores.Count < 2)
        {
            throw new CommandException(
                $"the cluster has {stores.Count} processes with the role store alone; expected at least 2");
        }

        await _client.ModelIdAsync(cancellationToken).ConfigureAwait(false);
        var random = new Random(_plan.Seed);
        var lost = stores[random.Next(stores.Count)];
        // Some moment within a second, so that nothing is in step with it.
        var killAt = TimeSpan.FromSeconds(_plan.BeforeSeconds) - TimeSpan.FromMilliseconds(random.Next(1000));
        var warm = TimeSpan.FromSeconds(_plan.WarmSeconds);
        _measuredFrom = Stopwatch.GetTimestamp() + (long)(warm.TotalSeconds * Stopwatch.Frequency);
        var asking = AskSteadilyAsync(cancellationToken);
        await Task.Delay(warm + killAt, cancellationToken).ConfigureAwait(false);
        var known = await BlocksOfAsync(lost, cancellationToken).ConfigureAwait(false);
        var before = await _client.MetricsAsync(cancellationToken).ConfigureAwait(false);
        await lost.KillAsync().ConfigureAwait(false);
        var lostAt = Since(Stopwatch.GetTimestamp());
        _terminal.Remark(string.Create(
            CultureInfo.InvariantCulture, $"{lostAt:0.0} s: killed {lost.Config.Name}, which kept {known} blocks"));
        await asking.ConfigureAwait(false);
        var after = await _client.MetricsAsync(cancellationToken).ConfigureAwait(false);
        return Report(lost.Config.Name, known, lostAt, before, after);
    }

    public void Dispose() => _client.Dispose();

    private double Since(long timestamp) => (double)(timestamp - _measuredFrom) / Stopwatch.Frequency;

    /// <summary>Begins requests at a steady rate, whatever becomes of those before, and waits for them.</summary>
    private async Task AskSteadilyAsync(CancellationToken cancellationToken)
    {
        var seconds = _plan.WarmSeconds + _plan.BeforeSeconds + _plan.AfterSeconds;
        var requests = (int)(seconds * _plan.RequestsPerSecond);
        var start = Stopwatch.GetTimestamp();
        var running = new List<Task>();
        for (var request = 0; request < requests; request++)
        {
            var wait = TimeSpan.FromSeconds(request / _plan.RequestsPerSecond) - Stopwatch.GetElapsedTime(start);
            if (wait > TimeSpan.Zero)
            {
                await Task.Delay(wait, cancellationToken).ConfigureAwait(false);
            }

            running.RemoveAll(static one => one.IsCompletedSuccessfully);
            running.Add(AskAsync(request, cancellationToken));
        }

        await Task.WhenAll(running).ConfigureAwait(false);
    }

    private async Task AskAsync(int request, CancellationToken cancellationToken)
    {
        // In turn: each document is asked about equally often, and a small pool never has the next one.
        var document = _documents[request % _documents.Length];
        var fact = document.Facts[request / _documents.Length % document.Facts.Count];
        var began = Since(Stopwatch.GetTimestamp());
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(_plan.RequestSecondsMax));
        try
        {
            var asked = await Asker.AskAsync(
                _client, StreamRequest.About(document.Text, fact.Question), fact.Question, observe: null, limit.Token)
                .ConfigureAwait(false);
            _asked.Add((began, asked));
            if (began >= 0)
            {
                _hits.Add(began, asked.PromptTokens, asked.CachedTokens);
            }

            if (asked.Completion != fact.Answer)
            {
                Interlocked.Increment(ref _wrong);
                Note($"request {request}: expected '{fact.Sentence}', got '{asked.Answer}'");
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            Interlocked.Increment(ref _stuck);
            Note($"request {request}: not over after {_plan.RequestSecondsMax} s");
        }
        catch (ServerException fault)
        {
            Interlocked.Increment(ref _failed);
            Note($"request {request}: {fault.Message}");
        }
    }

    private void Note(string fault)
    {
        _terminal.Remark(fault);
        if (_faults.Count < FaultsKeptMax)
        {
            _faults.Enqueue(fault);
        }
    }

    private async Task<ulong> BlocksOfAsync(ClusterProcess node, CancellationToken cancellationToken)
    {
        var report = await ConductorOption.CallAsync(
            _cluster.Conductor!.AbsoluteUri, new PeerOptions(),
            client => TopCommand.ListAsync(client, cancellationToken), cancellationToken).ConfigureAwait(false);
        return report.Nodes.Single(one => one.Node == node.Config.Name).IndexedBlocks;
    }

    private ReplicaReport Report(string lost, ulong lostBlocks, double lostAt, MetricsText before, MetricsText after)
    {
        var lostSecond = (int)lostAt;
        var hitRateBefore = _hits.Over(0, lostSecond);
        return new ReplicaReport
        {
            Documents = _plan.Documents,
            DocumentTokens = _plan.DocumentTokens,
            Seed = _plan.Seed,
            Lost = lost,
            LostBlocks = lostBlocks,
            LostAtS = lostAt,
            Answered = _asked.Count,
            AnswersWrong = _wrong,
            Failed = _failed,
            Stuck = _stuck,
            Faults = [.. _faults],
            HitRateBefore = hitRateBefore,
            HitRateLowest = _hits.LowestAfter(lostSecond),
            HitRateEnd = _hits.Over(_plan.BeforeSeconds + _plan.AfterSeconds - 5, int.MaxValue),
            RecoveredAfterS = _hits.RecoveredAfter(lostSecond, hitRateBefore - ReplicaReport.RecoveredWithin),
            HitRatePerSecond = [.. _hits.PerSecond().Select(static rate => Math.Round(rate, 4))],
            TtftP50BeforeS = Median(_asked.Where(one => one.BeganS >= 0 && one.BeganS < lostAt)),
            TtftP50AfterS = Median(_asked.Where(one => one.BeganS >= lostAt)),
            ReplicaOrders = (long)after.Get("mooncake_conductor_replica_orders_total"),
            Restorations = (long)(after.Get("mooncake_conductor_replica_restorations_total")
                - before.Get("mooncake_conductor_replica_restorations_total")),
            BlocksCopied = (long)after.Get("mooncake_conductor_replica_blocks_total"),
            Failovers = (long)after.Get("mooncake_kv_replica_failovers_total"),
            Hedges = (long)after.Get("mooncake_kv_replica_hedges_total"),
        };
    }

    private static double Median(IEnumerable<(double BeganS, AskResult Asked)> asked) =>
        Distribution.Of(asked.Select(static one => one.Asked.TtftS)).P50;
}
