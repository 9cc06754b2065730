using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// Loads from other processes: a long run of blocks comes piece by piece, so that what has come is kept when the rest
/// does not.
/// </summary>
internal sealed class PeerPulls(PeerParts parts, PeerCalls calls, PeerBook book, BlockHints hints) : IAsyncDisposable
{
    private readonly BoundedTasks _tasks = new(parts.Options.LoadsMax);
    private readonly int _blockBytes = parts.Memory.Layout.BytesPerBlock;

    /// <summary>Begins to fill pool blocks; false when as many loads run as may.</summary>
    /// <param name="peer">Who is said to have them.</param>
    /// <param name="keys">Keys, in prefix order.</param>
    /// <param name="blockIds">Blocks of the pool, one for each key.</param>
    /// <param name="done">Told of the leading blocks that have come; afterwards nothing writes to any of them.</param>
    public bool TryBegin(Peer peer, BlockKey[] keys, int[] blockIds, Action<int> done) => _tasks.TryRun(
        async cancellation =>
        {
            var come = 0;
            try
            {
                come = await PullAsync(peer, keys, blockIds, cancellation).ConfigureAwait(false);
            }
            finally
            {
                done(come);
            }
        });

    /// <inheritdoc />
    public ValueTask DisposeAsync() => _tasks.DisposeAsync();

    private async Task<int> PullAsync(Peer peer, BlockKey[] keys, int[] blockIds, CancellationToken cancellation)
    {
        var own = parts.OwnAddress();
        if (own.Length == 0)
        {
            return 0;
        }

        var addresses = Array.ConvertAll(blockIds, id => parts.Memory.Address(id, 0, 0));
        var pieceBlocks = Math.Max(1, parts.Options.PullBytesMax / _blockBytes);
        var come = 0;
        while (come < keys.Length && !cancellation.IsCancellationRequested)
        {
            var asked = Math.Min(pieceBlocks, keys.Length - come);
            var piece = await PullPieceAsync(
                peer, own, keys.AsMemory(come, asked), addresses.AsMemory(come, asked), cancellation)
                .ConfigureAwait(false);
            come += piece;
            if (piece < asked)
            {
                hints.Remove(keys.AsSpan(come), peer);
                break;
            }
        }

        return come;
    }

    private async Task<int> PullPieceAsync(
        Peer peer, string own, ReadOnlyMemory<BlockKey> keys, ReadOnlyMemory<nint> addresses,
        CancellationToken cancellation)
    {
        var started = parts.Time.GetTimestamp();
        int come;
        try
        {
            come = await calls.TryAsync(
                peer,
                parts.Options.PullTimeoutMs,
                limited => parts.Client.PullAsync(peer.Address, own, keys, addresses, _blockBytes, limited),
                -1,
                cancellation).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            return 0;
        }

        if (come < 0)
        {
            return 0;
        }

        if (come < keys.Length)
        {
            parts.Traffic.AddFailure(PeerFailure.Missing);
        }

        if (come > 0)
        {
            var bytes = (long)come * _blockBytes;
            peer.Rate.Add(bytes, parts.Time.GetElapsedTime(started));
            parts.Traffic.AddPulled(come, bytes, book.Stores.Contains(peer));
        }

        return come;
    }
}
