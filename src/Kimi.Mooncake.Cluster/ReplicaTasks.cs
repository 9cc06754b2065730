using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster;

/// <summary>
/// The conductor's orders that a node is doing, over one connection: a bounded number at once, each reported once. When
/// it has been disposed of, none is being done.
/// </summary>
/// <param name="copy">Does one; null in a node that keeps no blocks for others.</param>
/// <param name="tasksMax">Most at once; one more is reported as failed.</param>
/// <param name="reported">Called when there is a report; must return at once.</param>
internal sealed class ReplicaTasks(
    Func<ReplicaTask, CancellationToken, Task<ReplicaOutcome>>? copy, int tasksMax, Action reported) : IAsyncDisposable
{
    private readonly CancellationTokenSource _ended = new();
    private readonly ConcurrentDictionary<long, Task> _running = new();
    private readonly ConcurrentQueue<Wire.NodeMessage> _reports = new();
    private long _lastStarted;

    /// <summary>Begins an order; only the loop that reads messages calls.</summary>
    public void Begin(ReplicaTask task)
    {
        if (copy is null || _running.Count >= tasksMax)
        {
            Report(task, default);
            return;
        }

        // The task is there before it can take itself out.
        var number = ++_lastStarted;
        var start = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _running[number] = RunAsync(copy, task, number, start.Task);
        start.SetResult();
    }

    /// <summary>Takes one report, if there is one.</summary>
    public bool TryTake([NotNullWhen(true)] out Wire.NodeMessage? report) => _reports.TryDequeue(out report);

    public async ValueTask DisposeAsync()
    {
        await _ended.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(_running.Values).ConfigureAwait(false);
        _ended.Dispose();
    }

    private async Task RunAsync(
        Func<ReplicaTask, CancellationToken, Task<ReplicaOutcome>> copyBlocks, ReplicaTask task, long number,
        Task started)
    {
        await started.ConfigureAwait(false);
        var outcome = default(ReplicaOutcome);
        try
        {
            outcome = await copyBlocks(task, _ended.Token).ConfigureAwait(false);
        }
        catch (Exception) when (_ended.IsCancellationRequested)
        {
            // The connection is over, and with it the order: nobody waits for a report.
            return;
        }
        catch (Exception)
        {
            // Whatever it was, the conductor is told that it failed: it would wait for the report.
            outcome = default;
        }
        finally
        {
            _running.TryRemove(number, out _);
        }

        Report(task, outcome);
    }

    private void Report(ReplicaTask task, ReplicaOutcome outcome)
    {
        _reports.Enqueue(ReplicaMessages.ToMessage(task, outcome));
        reported();
    }
}
