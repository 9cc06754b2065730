using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Store;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>What copying blocks to other store nodes works with.</summary>
/// <param name="Store">Where the blocks are.</param>
/// <param name="Layout">Their layout.</param>
/// <param name="Fingerprint">Names their model.</param>
/// <param name="Staging">Memory for blocks on their way.</param>
/// <param name="Client">Calls to other processes.</param>
/// <param name="Options">Limits.</param>
/// <param name="Traffic">What is counted.</param>
/// <param name="Time">Clock.</param>
/// <param name="Logger">Takes what an operator should know.</param>
internal sealed record ReplicaParts(
    KvBlockStore Store, KvLayout Layout, string Fingerprint, StagingBlocks Staging, PeerBlockClient Client,
    BlockServingOptions Options, BlockTraffic Traffic, TimeProvider Time, ILogger Logger);

/// <summary>
/// Copies blocks of this store node to another one, as the conductor orders: read into staging memory, and put there in
/// two phases like any other block, with the attributes that they have here.
/// </summary>
internal sealed class ReplicaSender(ReplicaParts parts)
{
    /// <summary>Does one order. Throws only when it is cancelled.</summary>
    public async Task<ReplicaOutcome> CopyAsync(ReplicaTask task, CancellationToken cancellationToken)
    {
        var batchBlocks = Math.Max(1, parts.Options.PullBatchBytes / parts.Layout.BytesPerBlock);
        var (copied, come) = (0, 0);
        try
        {
            while (come < task.Keys.Length)
            {
                using var limit = new CancellationTokenSource(
                    TimeSpan.FromMilliseconds(parts.Options.CopyTimeoutMs), parts.Time);
                using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
                var (taken, stored, isWhole) = await CopyBatchAsync(
                    task, come, Math.Min(batchBlocks, task.Keys.Length - come), either.Token).ConfigureAwait(false);
                copied += stored;
                come += taken;
                if (!isWhole)
                {
                    break;
                }
            }
        }
        catch (Exception fault) when (!cancellationToken.IsCancellationRequested)
        {
            PeerLog.NotCopied(parts.Logger, task.TargetAddress, fault.Message);
        }

        cancellationToken.ThrowIfCancellationRequested();
        parts.Traffic.AddCopied(copied);
        if (come < task.Keys.Length)
        {
            parts.Traffic.AddCopyFailed();
        }

        return new ReplicaOutcome(copied, come == task.Keys.Length);
    }

    /// <summary>Copies some blocks.</summary>
    /// <returns>Blocks of the order that are done, those that were stored, and whether it may go on.</returns>
    private async Task<(int Taken, int Stored, bool IsWhole)> CopyBatchAsync(
        ReplicaTask task, int first, int wanted, CancellationToken cancellationToken)
    {
        // Reading from disk costs far more than the question.
        var has = await parts.Client.MatchRunsAsync(
            task.TargetAddress, [task.Keys.AsMemory(first, wanted)], cancellationToken).ConfigureAwait(false);
        if (has[0] > 0)
        {
            return (has[0], 0, true);
        }

        var slots = await parts.Staging.TakeAsync(wanted, cancellationToken).ConfigureAwait(false);
        try
        {
            var (puts, read) = await Task.Run(() => Read(task, first, slots), cancellationToken).ConfigureAwait(false);
            var stored = 0;
            foreach (var blocks in puts)
            {
                var put = await parts.Client.PutAsync(task.TargetAddress, blocks, cancellationToken)
                    .ConfigureAwait(false);
                stored += put.Stored;
                if (!put.IsWhole)
                {
                    return (0, stored, false);
                }
            }

            // What was removed meanwhile ends the order: its other blocks would lie without their prefix.
            return (read, stored, read == slots.Length);
        }
        finally
        {
            parts.Staging.Give(slots);
        }
    }

    /// <summary>Reads blocks as far as they are there; those with equal attributes are put together.</summary>
    private (List<PutBlocks> Puts, int Read) Read(ReplicaTask task, int first, int[] slots)
    {
        var found = new List<(BlockKey Key, BlockKey Parent, nint Source, BlockAttributes Attributes)>();
        for (var i = 0; i < slots.Length; i++)
        {
            var key = task.Keys[first + i];
            if (!parts.Store.TryDescribe(key, out var parent, out var attributes)
                || !parts.Store.TryGet(key, parts.Staging[slots[i]]))
            {
                break;
            }

            found.Add((key, parent, parts.Staging.AddressOf(slots[i]), attributes));
        }

        var puts = found.GroupBy(static block => block.Attributes).Select(group => new PutBlocks(
            [.. group.Select(static block => block.Key)],
            [.. group.Select(static block => block.Parent)],
            [.. group.Select(static block => block.Source)],
            parts.Layout.BytesPerBlock,
            parts.Fingerprint,
            group.Key));
        return ([.. puts], found.Count);
    }
}
