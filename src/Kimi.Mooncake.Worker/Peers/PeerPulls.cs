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

        var tried = new TriedSources(own);
        var pieceBlocks = Math.Max(1, parts.Options.PullBytesMax / _blockBytes);
        var come = 0;
        while (come < blocks.Length && !cancellation.IsCancellationRequested)
        {
            if (tried.Next(blocks[come].Sources) is not { } peer)
            {
                hints.Remove([blocks[come].Key], blocks[come].Sources);
                break;
            }

            var asked = 1;
            while (asked < pieceBlocks && come + asked < blocks.Length
                && tried.Next(blocks[come + asked].Sources) == peer)
            {
                asked++;
            }

            var pulled = await PullOrLeaveAsync(peer, own, blocks.AsMemory(come, asked), tried, cancellation)
                .ConfigureAwait(false);
            come += Math.Max(0, pulled);
            if (pulled < asked && !cancellation.IsCancellationRequested)
            {
                tried.Add(peer, blocks[come].Sources, pulled);
                if (tried.Next(blocks[come].Sources) is not null)
                {
                    parts.Traffic.AddFailover();
                }
            }
        }

        return come;
    }

    /// <summary>
    /// Pulls a piece; where that takes far longer than usual, and another store node says that it has the first of the
    /// piece's blocks, the source is left for it. A source that is the only one has all the time that a pull may take.
    /// </summary>
    /// <returns>As <see cref="PullPieceAsync"/>.</returns>
    private async Task<int> PullOrLeaveAsync(
        Peer peer, string own, ReadOnlyMemory<PulledBlock> piece, TriedSources tried, CancellationToken cancellation)
    {
        var sources = piece.Span[0].Sources;
        // A worker looks for blocks between two steps of its engine, which may take long.
        var others = book.Stores.Contains(peer) ? tried.OthersThan(peer, sources) : [];
        if (others.Length == 0)
        {
            return await PullPieceAsync(peer, own, piece, cancellation).ConfigureAwait(false);
        }

        var run = 1;
        while (run < piece.Length && piece.Span[run].Sources == sources)
        {
            run++;
        }

        using var leaving = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var pull = PullPieceAsync(peer, own, piece, leaving.Token);
        var other = HasOtherAsync(others, piece[..run], SwitchMs(piece), leaving.Token);
        var isOther = await Task.WhenAny(pull, other).ConfigureAwait(false) == other
            && await other.ConfigureAwait(false);
        if (isOther)
        {
            await leaving.CancelAsync().ConfigureAwait(false);
        }

        var come = await pull.ConfigureAwait(false);
        await leaving.CancelAsync().ConfigureAwait(false);
        await other.ConfigureAwait(false);
        return come;
    }

    /// <summary>Waits for the time after which a pull is slow, and asks others whether they have its blocks.</summary>
    /// <returns>Whether one has them all.</returns>
    private async Task<bool> HasOtherAsync(
        Peer[] others, ReadOnlyMemory<PulledBlock> run, int switchMs, CancellationToken ended)
    {
        try
        {
            await Task.Delay(TimeSpan.FromMilliseconds(switchMs), parts.Time, ended).ConfigureAwait(false);
            ReadOnlyMemory<BlockKey> keys = Array.ConvertAll(run.ToArray(), static block => block.Key);
            foreach (var other in others)
            {
                var blocks = await calls.TryAsync(
                    other,
                    parts.Options.MatchTimeoutMs,
                    limited => parts.Client.MatchRunsAsync(other.Address, [keys], limited),
                    [0],
                    ended).ConfigureAwait(false);
                if (blocks[0] == keys.Length)
                {
                    return true;
                }
            }

            return false;
        }
        catch (OperationCanceledException) when (ended.IsCancellationRequested)
        {
            // The pull ended first.
            return false;
        }
    }

    /// <summary>Time after which a pull is slow: not much longer than the fastest source needs.</summary>
    private int SwitchMs(ReadOnlyMemory<PulledBlock> piece)
    {
        var rate = 0d;
        foreach (ref readonly var block in piece.Span)
        {
            rate = Math.Max(rate, ReplicaChoice.Fastest(block.Sources).BytesPerSecond);
        }

        var usualMs = rate > 0 ? (double)piece.Length * _blockBytes / rate * 1000 : 0;
        return (int)Math.Min(
            parts.Options.PullTimeoutMs, Math.Max(parts.Options.PullSwitchMs, usualMs * parts.Options.SlowFactor));
    }

    /// <returns>
    /// Leading blocks that have come; <see cref="TriedSources.Failed"/> when the call failed,
    /// <see cref="TriedSources.Left"/> when it was ended.
    /// </returns>
    private async Task<int> PullPieceAsync(
        Peer peer, string own, ReadOnlyMemory<PulledBlock> piece, CancellationToken cancellation)
    {
        var keys = new BlockKey[piece.Length];
        var addresses = new nint[piece.Length];
        for (var i = 0; i < keys.Length; i++)
        {
            keys[i] = piece.Span[i].Key;
            addresses[i] = parts.Memory.Address(piece.Span[i].BlockId, 0, 0);
        }

        var started = parts.Time.GetTimestamp();
        var unfinishedBytes = 0L;
        int come;
        try
        {
            come = await calls.TryAsync(
                peer,
                parts.Options.PullTimeoutMs,
                limited => parts.Client.PullAsync(
                    peer.Address, own, keys, addresses, _blockBytes, limited, bytes => unfinishedBytes = bytes),
                TriedSources.Failed,
                cancellation,
                () => unfinishedBytes > 0).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            come = TriedSources.Left;
        }

        if (come < 0)
        {
            if (come == TriedSources.Left || unfinishedBytes > 0)
            {
                // So slow that it was left: asked after others for a while, even if nothing came.
                peer.Rate.Add(Math.Max(1, unfinishedBytes), parts.Time.GetElapsedTime(started));
            }

            return come;
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
