using Grpc.Core;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Protocol;
using Kimi.Mooncake.Transfer;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// Blocks of other processes, over gRPC, and their bytes over the transfer engine. Each call ends within the time of
/// its token; failures are <see cref="RpcException"/>, <see cref="TransferException"/> or cancellation.
/// </summary>
/// <param name="transfer">Carries the bytes.</param>
/// <param name="invokers">Calls to a process by its address.</param>
internal sealed class PeerBlockClient(TransferEngine transfer, Func<string, CallInvoker> invokers)
{
    /// <summary>For each of several runs, how many of its first keys a process has, without a gap.</summary>
    /// <param name="address">The process.</param>
    /// <param name="runs">Runs of keys in prefix order, none of them empty.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    public async Task<int[]> MatchRunsAsync(
        string address, IReadOnlyList<ReadOnlyMemory<BlockKey>> runs, CancellationToken cancellationToken)
    {
        var request = new Wire.MatchRequest
        {
            Keys = BlockKeyMessages.ToBytes([.. runs.SelectMany(run => run.ToArray())]),
        };
        request.Runs.AddRange(runs.Select(run => (uint)run.Length));
        var response = await Client(address).MatchAsync(request, cancellationToken: cancellationToken)
            .ResponseAsync.ConfigureAwait(false);
        return response.RunBlocks.Count == runs.Count
            ? [.. response.RunBlocks.Select((blocks, run) => (int)Math.Min(blocks, (uint)runs[run].Length))]
            : throw new RpcException(new Status(
                StatusCode.DataLoss, $"{address} answered for {response.RunBlocks.Count} of {runs.Count} runs"));
    }

    /// <summary>
    /// Fetches blocks. When the task has ended, however it did, nothing writes to the memory any more.
    /// </summary>
    /// <param name="address">The process that has them.</param>
    /// <param name="ownAddress">Where this process takes frames.</param>
    /// <param name="keys">Keys in prefix order.</param>
    /// <param name="targets">Memory for each block.</param>
    /// <param name="blockBytes">Bytes of a block.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <param name="unfinished">Told, before a failure is thrown, of the bytes that have come.</param>
    /// <returns>Leading blocks that have come; fewer when the process does not have them all.</returns>
    public async Task<int> PullAsync(
        string address, string ownAddress, ReadOnlyMemory<BlockKey> keys, ReadOnlyMemory<nint> targets, int blockBytes,
        CancellationToken cancellationToken, Action<long>? unfinished = null)
    {
        using var reservation = transfer.Reserve(targets.Span, blockBytes);
        var request = new Wire.PullRequest
        {
            Keys = BlockKeyMessages.ToBytes(keys.Span),
            DestinationAddress = ownAddress,
            Reservation = reservation.Id.Id,
            Generation = reservation.Id.Generation,
        };
        try
        {
            var response = await Client(address).PullAsync(request, cancellationToken: cancellationToken)
                .ResponseAsync.ConfigureAwait(false);
            var blocks = (int)Math.Min(response.Blocks, (uint)keys.Length);
            var expected = (long)blocks * blockBytes;
            return reservation.BytesWritten >= expected
                ? blocks
                : throw new RpcException(new Status(
                    StatusCode.DataLoss,
                    $"{address} sent {reservation.BytesWritten} bytes for {blocks} blocks of {blockBytes} bytes"));
        }
        catch
        {
            unfinished?.Invoke(reservation.BytesWritten);
            throw;
        }
    }

    /// <summary>
    /// Gives blocks to a store node, in parts where it has no room for all at once. When the task has ended, however
    /// it did, nothing reads the memory any more.
    /// </summary>
    public async Task<PutOutcome> PutAsync(string address, PutBlocks blocks, CancellationToken cancellationToken)
    {
        var request = new Wire.BeginPutRequest
        {
            Keys = BlockKeyMessages.ToBytes(blocks.Keys),
            ParentKeys = BlockKeyMessages.ToBytes(blocks.Parents),
            BlockBytes = checked((uint)blocks.BlockBytes),
            ModelFingerprint = blocks.Fingerprint,
            Tenant = blocks.Attributes.Tenant,
            Retention = RetentionMessages.ToMessage(blocks.Attributes.Retention),
            BlockClass = RetentionMessages.ToMessage(blocks.Attributes.Class),
        };
        var outcome = default(PutOutcome);
        while (true)
        {
            PutOutcome part;
            try
            {
                part = await PutPartAsync(address, request, blocks, cancellationToken).ConfigureAwait(false);
            }
            catch (RpcException fault) when (fault.StatusCode == StatusCode.ResourceExhausted && outcome.Stored > 0)
            {
                // Others have taken the room: what was stored before is stored all the same.
                return outcome;
            }

            outcome = new PutOutcome(outcome.Wanted + part.Wanted, outcome.Stored + part.Stored, part.Left);
            if (part.Left == 0 || part.Wanted == 0 || part.Stored < part.Wanted)
            {
                return outcome;
            }
        }
    }

    /// <summary>Has a store node keep blocks longer.</summary>
    /// <returns>Blocks that it has.</returns>
    public async Task<int> RetainAsync(
        string address, BlockKey[] keys, BlockRetention retention, CancellationToken cancellationToken)
    {
        var request = new Wire.RetainRequest
        {
            Keys = BlockKeyMessages.ToBytes(keys),
            Retention = RetentionMessages.ToMessage(retention),
        };
        var response = await Client(address).RetainAsync(request, cancellationToken: cancellationToken)
            .ResponseAsync.ConfigureAwait(false);
        return (int)Math.Min(response.Blocks, (uint)keys.Length);
    }

    private async Task<PutOutcome> PutPartAsync(
        string address, Wire.BeginPutRequest request, PutBlocks blocks, CancellationToken cancellationToken)
    {
        var client = Client(address);
        var begun = await client.BeginPutAsync(request, cancellationToken: cancellationToken)
            .ResponseAsync.ConfigureAwait(false);
        if (begun.Left > (uint)blocks.Keys.Length || begun.Wanted.Any(index => index >= blocks.Keys.Length))
        {
            throw new RpcException(new Status(StatusCode.DataLoss, $"{address} wants blocks that were not offered"));
        }

        var left = (int)begun.Left;
        if (begun.Wanted.Count == 0)
        {
            return new PutOutcome(0, 0, left);
        }

        var target = new ReservationId(begun.Reservation, begun.Generation);
        await SendAsync(address, target, blocks, [.. begun.Wanted], cancellationToken).ConfigureAwait(false);
        var commit = new Wire.CommitPutRequest { Reservation = target.Id, Generation = target.Generation };
        var committed = await client.CommitPutAsync(commit, cancellationToken: cancellationToken)
            .ResponseAsync.ConfigureAwait(false);
        return new PutOutcome(begun.Wanted.Count, (int)Math.Min(committed.Stored, (uint)begun.Wanted.Count), left);
    }

    private async Task SendAsync(
        string address, ReservationId target, PutBlocks blocks, uint[] wanted,
        CancellationToken cancellationToken)
    {
        var frames = wanted.Length * BlockFrames.CountOf(blocks.BlockBytes);
        var session = await transfer.BeginAsync(
            address, target, TransferPriority.Replication, frames, cancellationToken).ConfigureAwait(false);
        await using (session.ConfigureAwait(false))
        {
            for (var slot = 0; slot < wanted.Length; slot++)
            {
                if (!BlockFrames.TryEnqueue(session, blocks.Sources[(int)wanted[slot]], blocks.BlockBytes, slot))
                {
                    break;
                }
            }

            await session.FlushAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private Wire.KvBlocks.KvBlocksClient Client(string address) => new(invokers(address));
}
