using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>A block that is to be pulled.</summary>
/// <param name="Key">Its key.</param>
/// <param name="BlockId">Block of the pool to fill.</param>
/// <param name="Sources">Who may have it, in the order in which to ask them.</param>
internal readonly record struct PulledBlock(BlockKey Key, int BlockId, Peer[] Sources);

/// <summary>
/// Loads from other processes: a long run of blocks comes piece by piece, so that what has come is kept when the rest
/// does not. A source that fails, is far slower than others could be, or lacks a block is left for the next one.
/// </summary>
internal sealed class PeerPulls(PeerParts parts, PeerCalls calls, PeerBook book, BlockHints hints) : IAsyncDisposable
{
    private readonly BoundedTasks _tasks = new(parts.Options.LoadsMax);
    private readonly int _blockBytes = parts.Memory.Layout.BytesPerBlock;

    /// <summary>Begins to fill pool blocks; false when as many loads run as may.</summary>
    /// <param name="blocks">The blocks, in prefix order.</param>
    /// <param name="done">Told of the leading blocks that have come; afterwards nothing writes to any of them.</param>
    public bool TryBegin(PulledBlock[] blocks, Action<int> done) => _tasks.TryRun(
        async cancellation =>
        {
            var come = 0;
            try
            {
                come = await PullAsync(blocks, cancellation).ConfigureAwait(false);
            }
            finally
            {
                done(come);
            }
        });

    /// <inheritdoc />
    public ValueTask DisposeAsync() => _tasks.DisposeAsync();

    private async Task<int> PullAsync(PulledBlock[] blocks, CancellationToken cancellation)
    {
        var own = parts.OwnAddress();
        if (own.Length == 0)
        {
            return 0;
        }

        // Who failed is asked for nothing more; who lacked a block, for nothing more of that group.
        var failed = new HashSet<Peer>();
        var lacking = new HashSet<(Peer Peer, Peer[] Group)>();
        var pieceBlocks = Math.Max(1, parts.Options.PullBytesMax / _blockBytes);
        var come = 0;
        while (come < blocks.Length && !cancellation.IsCancellationRequested)
        {
            if (Next(blocks[come].Sources) is not { } peer)
            {
                hints.Remove([blocks[come].Key], blocks[come].Sources);
                break;
            }

            var asked = 1;
            while (asked < pieceBlocks && come + asked < blocks.Length
                && Next(blocks[come + asked].Sources) == peer)
            {
                asked++;
            }

            var piece = blocks.AsMemory(come, asked);
            var pulled = await PullPieceAsync(peer, own, piece, LimitMs(peer, piece.Span), cancellation)
                .ConfigureAwait(false);
            come += Math.Max(0, pulled);
            if (pulled < asked)
            {
                _ = pulled < 0 ? failed.Add(peer) : lacking.Add((peer, blocks[come].Sources));
                if (Next(blocks[come].Sources) is not null)
                {
                    parts.Traffic.AddFailover();
                }
            }
        }

        return come;

        Peer? Next(Peer[] sources) => Array.Find(sources, peer => !failed.Contains(peer)
            && !lacking.Contains((peer, sources)) && peer.Address != own && peer.Breaker.WouldEnter);
    }

    /// <summary>
    /// Longest time for a piece: where another replica may have its blocks, not much longer than the fastest one needs.
    /// </summary>
    private int LimitMs(Peer peer, ReadOnlySpan<PulledBlock> piece)
    {
        var rate = 0d;
        // A worker looks for blocks between two steps of its engine, which may take long.
        var hasOther = book.Stores.Contains(peer);
        foreach (ref readonly var block in piece)
        {
            hasOther = hasOther && Array.Exists(block.Sources, other => other != peer && other.Breaker.WouldEnter);
            rate = Math.Max(rate, ReplicaChoice.Fastest(block.Sources).BytesPerSecond);
        }

        if (!hasOther)
        {
            return parts.Options.PullTimeoutMs;
        }

        var usualMs = rate > 0 ? (double)piece.Length * _blockBytes / rate * 1000 : 0;
        return (int)Math.Min(
            parts.Options.PullTimeoutMs, Math.Max(parts.Options.PullSwitchMs, usualMs * parts.Options.SlowFactor));
    }

    /// <returns>Leading blocks that have come; -1 when the call failed.</returns>
    private async Task<int> PullPieceAsync(
        Peer peer, string own, ReadOnlyMemory<PulledBlock> piece, int limitMs, CancellationToken cancellation)
    {
        var keys = new BlockKey[piece.Length];
        var addresses = new nint[piece.Length];
        for (var i = 0; i < keys.Length; i++)
        {
            keys[i] = piece.Span[i].Key;
            addresses[i] = parts.Memory.Address(piece.Span[i].BlockId, 0, 0);
        }

        var started = parts.Time.GetTimestamp();
        int come;
        try
        {
            come = await calls.TryAsync(
                peer,
                limitMs,
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
            return -1;
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
