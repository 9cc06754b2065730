using System.Collections.Concurrent;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.KvCache.Placement;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// The engine's way to blocks in the store of this process, in other workers and in store nodes. What others have is
/// known from hints, which a request brings along or store nodes give before the engine sees the request; where a hint
/// does not hold, the blocks are computed. Any thread may call.
/// </summary>
internal sealed partial class PeerConnector : IKvConnector, IAsyncDisposable
{
    private readonly StoreConnector? _local;
    private readonly PeerParts _parts;
    private readonly PeerBook _book;
    private readonly BlockHints _hints;
    private readonly BlockFinder _finder;
    private readonly PeerPulls _pulls;
    private readonly PeerPuts _puts;
    private readonly PeerRetains _retains;
    private readonly Action _wake;
    private readonly Lock _gate = new();
    private readonly ConcurrentQueue<KvTransferDone> _done = new();
    private readonly Dictionary<long, Part> _localParts = [];
    private long _lastTicket;

    /// <summary>Makes a connector.</summary>
    /// <param name="parts">What it works with; outlives it.</param>
    /// <param name="local">
    /// Makes the way to the store of this process, which is given what to call when a transfer is done; null where
    /// there is no store.
    /// </param>
    /// <param name="prefillSeconds">
    /// Estimated time to compute the prompt positions from the first number to the second; 0 when it is not known.
    /// </param>
    /// <param name="wake">Called on any thread whenever a transfer is done; must not block.</param>
    public PeerConnector(
        PeerParts parts, Func<Action, StoreConnector>? local, Func<int, int, double> prefillSeconds, Action wake)
    {
        _parts = parts;
        _wake = wake;
        var options = parts.Options;
        var calls = new PeerCalls(parts);
        _book = new PeerBook(options, parts.Time, parts.Host);
        _hints = new BlockHints(
            options.HintedBlocksMax, TimeSpan.FromMilliseconds(options.HintLifetimeMs), parts.Time);
        _local = local?.Invoke(TakeLocalDone);
        _finder = new BlockFinder(parts, calls, _book, _hints, prefillSeconds);
        _pulls = new PeerPulls(parts, calls, _book, _hints);
        _puts = new PeerPuts(parts, calls);
        _retains = new PeerRetains(parts, calls);
    }

    private sealed record Part(SplitTransfer Transfer, int[] Indices, bool IsLoad, bool IsSave);

    /// <summary>Replaces the list of store nodes.</summary>
    public void SetStoreNodes(IEnumerable<StoreNodeAddress> nodes) => _book.SetStores(nodes);

    /// <summary>
    /// Finds out who has the blocks of a request that this process lacks; to be called, and waited for, before the
    /// engine sees the request. Takes at most <see cref="PeerBlocksOptions.MatchTimeoutMs"/>.
    /// </summary>
    /// <param name="request">The request.</param>
    /// <param name="countPublished">How many of the first keys the pool has; may be too few.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public Task PrepareAsync(
        GenerationRequest request, Func<ReadOnlyMemory<BlockKey>, int> countPublished,
        CancellationToken cancellationToken) =>
        _finder.FindAsync(
            request,
            keys => Math.Max(countPublished(keys), _local?.CountStored(keys.Span) ?? 0),
            cancellationToken);

    /// <inheritdoc />
    public int CountStored(ReadOnlySpan<BlockKey> keys)
    {
        var count = _local?.CountStored(keys) ?? 0;
        while (count < keys.Length && (SourceOf(keys[count], out _) is not null || IsLocal(keys[count])))
        {
            count++;
        }

        return count;
    }

    /// <inheritdoc />
    public long BeginLoad(ReadOnlySpan<BlockKey> keys, ReadOnlySpan<int> blockIds)
    {
        lock (_gate)
        {
            var transfer = new SplitTransfer(++_lastTicket, keys.Length);
            var (local, remote) = Route(keys, transfer);
            if (local.Count > 0)
            {
                int[] indices = [.. local];
                var ticket = _local!.BeginLoad(Pick(keys, indices), Pick(blockIds, indices));
                AddLocalPart(transfer, indices, ticket, isLoad: true);
            }

            foreach (var blocks in remote.Values)
            {
                int[] indices = [.. blocks.Select(static block => block.Index)];
                // Blocks after one that cannot come are of no use.
                if (indices[0] < transfer.Leading && !TryPull(transfer, indices, blocks, keys, blockIds))
                {
                    transfer.Miss(indices[0]);
                }
            }

            return transfer.HasParts ? transfer.Ticket : -1;
        }
    }

    /// <inheritdoc />
    public bool CanSwap => _local is not null;

    /// <inheritdoc />
    public long BeginSwapOut(long sequenceId, ReadOnlySpan<int> blockIds)
    {
        lock (_gate)
        {
            return BeginSwap(_local?.BeginSwapOut(sequenceId, blockIds) ?? -1, blockIds.Length);
        }
    }

    /// <inheritdoc />
    public long BeginSwapIn(long sequenceId, ReadOnlySpan<int> blockIds)
    {
        lock (_gate)
        {
            return BeginSwap(_local?.BeginSwapIn(sequenceId, blockIds) ?? -1, blockIds.Length);
        }
    }

    /// <inheritdoc />
    public void DropSwap(long sequenceId) => _local?.DropSwap(sequenceId);

    /// <inheritdoc />
    public bool TryTakeDone(out KvTransferDone done) => _done.TryDequeue(out done);

    /// <summary>The counters under their Prometheus names.</summary>
    public void AddMetrics(List<Metric> metrics)
    {
        _parts.Traffic.AddTo(metrics);
        _local?.AddMetrics(metrics);
        metrics.Add(new Metric("kv_hinted_blocks", false, "Blocks known to be in other processes.", _hints.Count));
        metrics.Add(new Metric(
            "kv_peers_left_alone", false, "Processes not asked for blocks because they failed lately.",
            _book.CountOpen()));
        metrics.Add(new Metric(
            "kv_store_nodes_slow", false, "Store nodes that answer or send far slower than the fastest.",
            _book.CountSlow()));
        metrics.Add(new Metric("kv_store_nodes", false, "Store nodes known.", _book.Stores.Count));
    }

    /// <summary>Turns down new transfers, ends those begun, and waits for them.</summary>
    public async ValueTask DisposeAsync()
    {
        await _pulls.DisposeAsync().ConfigureAwait(false);
        await _puts.DisposeAsync().ConfigureAwait(false);
        await _retains.DisposeAsync().ConfigureAwait(false);
        _local?.Dispose();
    }

    private long BeginSwap(long localTicket, int blocks)
    {
        if (localTicket < 0)
        {
            return -1;
        }

        var transfer = new SplitTransfer(++_lastTicket, blocks);
        AddLocalPart(transfer, [.. Enumerable.Range(0, blocks)], localTicket, isLoad: false);
        return transfer.Ticket;
    }

    private bool IsLocal(in BlockKey key) => _local is not null && _local.CountStored([key]) == 1;

    private Peer? SourceOf(in BlockKey key, out Peer[] sources)
    {
        sources = _hints.TryFind(key, out var found) ? found : [];
        return Array.Find(sources, static source => source.Breaker.WouldEnter);
    }

    /// <summary>Which way each block comes; ends at the first that nobody is known to have.</summary>
    private (List<int> Local, Dictionary<Peer, List<(int Index, Peer[] Sources)>> Remote) Route(
        ReadOnlySpan<BlockKey> keys, SplitTransfer transfer)
    {
        List<int> local = [];
        Dictionary<Peer, List<(int Index, Peer[] Sources)>> remote = [];
        for (var i = 0; i < keys.Length; i++)
        {
            if (IsLocal(keys[i]))
            {
                local.Add(i);
            }
            else if (SourceOf(keys[i], out var sources) is { } source)
            {
                Add(remote, source, (i, sources));
            }
            else
            {
                transfer.Miss(i);
                break;
            }
        }

        return (local, remote);
    }

    private void AddLocalPart(
        SplitTransfer transfer, int[] indices, long ticket, bool isLoad, bool isSave = false)
    {
        if (ticket < 0)
        {
            transfer.Miss(indices[0]);
            return;
        }

        transfer.Begin();
        _localParts.Add(ticket, new Part(transfer, indices, isLoad, isSave));
    }

    private bool TryPull(
        SplitTransfer transfer, int[] indices, List<(int Index, Peer[] Sources)> blocks, ReadOnlySpan<BlockKey> keys,
        ReadOnlySpan<int> blockIds)
    {
        var pulled = new PulledBlock[blocks.Count];
        for (var i = 0; i < pulled.Length; i++)
        {
            var (index, sources) = blocks[i];
            pulled[i] = new PulledBlock(keys[index], blockIds[index], sources);
        }

        if (!_pulls.TryBegin(pulled, come => End(transfer, indices, come)))
        {
            return false;
        }

        transfer.Begin();
        return true;
    }

    private void TakeLocalDone()
    {
        lock (_gate)
        {
            while (_local!.TryTakeDone(out var done))
            {
                _localParts.Remove(done.Ticket, out var part);
                if (part!.IsLoad)
                {
                    _parts.Traffic.AddLocal(done.BlocksDone);
                }

                if (part.IsSave)
                {
                    EndSave(part.Transfer, part.Indices, done.BlocksDone);
                }
                else
                {
                    End(part.Transfer, part.Indices, done.BlocksDone);
                }
            }
        }
    }

    private void End(SplitTransfer transfer, int[] indices, int moved) =>
        Finish(transfer, () => transfer.End(indices, moved));

    private void EndSave(SplitTransfer transfer, int[] indices, int stored) =>
        Finish(transfer, () => transfer.EndSave(indices, stored));

    private void Finish(SplitTransfer transfer, Func<bool> endsPart)
    {
        lock (_gate)
        {
            if (!endsPart())
            {
                return;
            }

            _done.Enqueue(new KvTransferDone(transfer.Ticket, transfer.Leading));
        }

        _wake();
    }

    private static T[] Pick<T>(ReadOnlySpan<T> values, int[] indices)
    {
        var picked = new T[indices.Length];
        for (var i = 0; i < picked.Length; i++)
        {
            picked[i] = values[indices[i]];
        }

        return picked;
    }

    private static void Add<TGroup, TItem>(Dictionary<TGroup, List<TItem>> groups, TGroup group, TItem item)
        where TGroup : notnull
    {
        if (!groups.TryGetValue(group, out var items))
        {
            groups[group] = items = [];
        }

        items.Add(item);
    }
}
