using System.Collections.Concurrent;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Worker.Peers;

namespace Kimi.Mooncake.Worker;

/// <summary>
/// Moves blocks between a worker's pool and the store on threads of its own. Loads and saves have their own threads and
/// queues, so that a load never waits for a save, nor for a disk that is slow to write. Any thread may call.
/// </summary>
internal sealed class StoreConnector : IKvConnector, IDisposable
{
    private readonly KvBlockStore _store;
    private readonly PagedKvMemory _memory;
    private readonly SwapSpace _swaps;
    private readonly Action? _wake;
    private readonly TransferRate? _rate;
    private readonly ConcurrentQueue<(KvTransferDone Done, StoreConnectorLane? Lane)> _done = new();
    private readonly StoreConnectorLane _loads;
    private readonly StoreConnectorLane _saves;
    private readonly StoreNotices _notices;
    private long _lastTicket;

    /// <summary>Starts the threads.</summary>
    /// <param name="store">Where blocks are kept; outlives the connector.</param>
    /// <param name="memory">The worker's pool; outlives the connector.</param>
    /// <param name="options">Threads and limits.</param>
    /// <param name="wake">Called on a thread of the connector whenever a transfer is done; must not block.</param>
    /// <param name="rate">Is told how fast blocks move; null where nobody wants to know.</param>
    /// <exception cref="ArgumentException">Store and pool have blocks of different sizes.</exception>
    public StoreConnector(
        KvBlockStore store, PagedKvMemory memory, StoreConnectorOptions? options = null, Action? wake = null,
        TransferRate? rate = null)
    {
        ArgumentNullException.ThrowIfNull(store);
        ArgumentNullException.ThrowIfNull(memory);
        if (store.BlockBytes != memory.Layout.BytesPerBlock)
        {
            throw new ArgumentException(
                $"blocks of the pool have {memory.Layout.BytesPerBlock} bytes, those of the store {store.BlockBytes}",
                nameof(memory));
        }

        options ??= new StoreConnectorOptions();
        _store = store;
        _swaps = new SwapSpace(store);
        _memory = memory;
        _wake = wake;
        _rate = rate;
        _loads = new StoreConnectorLane("kv load", options.LoadThreads, options.QueuedLoadsMax, Load, Finish);
        _saves = new StoreConnectorLane("kv save", options.SaveThreads, options.QueuedSavesMax, Save, Finish);
        _notices = new StoreNotices(store, options.QueuedNoticesMax);
    }

    /// <inheritdoc />
    public int CountStored(ReadOnlySpan<BlockKey> keys) => _store.CountStored(keys);

    /// <inheritdoc />
    public long BeginLoad(ReadOnlySpan<BlockKey> keys, ReadOnlySpan<int> blockIds) =>
        Begin(_loads, keys, [], blockIds, []);

    /// <inheritdoc />
    public bool CanSave => true;

    /// <inheritdoc />
    public long BeginSave(
        ReadOnlySpan<BlockKey> keys, ReadOnlySpan<BlockKey> parentKeys, ReadOnlySpan<BlockKey> groupKeys,
        ReadOnlySpan<int> blockIds, ReadOnlySpan<BlockAttributes> attributes) =>
        parentKeys.Length == keys.Length && attributes.Length == keys.Length
            ? Begin(_saves, keys, parentKeys, blockIds, attributes)
            : throw new ArgumentException(
                $"{keys.Length} keys need as many parent keys and attributes, not {parentKeys.Length} and " +
                $"{attributes.Length}");

    /// <inheritdoc />
    public void Retain(
        ReadOnlySpan<BlockKey> keys, ReadOnlySpan<BlockKey> groupKeys, in BlockRetention retention,
        BlockClass blockClass) =>
        _notices.Retain(keys, retention);

    /// <inheritdoc />
    public void Touch(ReadOnlySpan<BlockKey> keys) => _notices.Touch(keys);

    /// <inheritdoc />
    public bool CanSwap => true;

    /// <inheritdoc />
    public long BeginSwapOut(long sequenceId, ReadOnlySpan<int> blockIds)
    {
        var keys = _swaps.Open(sequenceId, blockIds.Length);
        var attributes = new BlockAttributes[keys.Length];
        Array.Fill(attributes, SwapSpace.Attributes);
        var ticket = Begin(_saves, keys, [], blockIds, attributes);
        if (ticket < 0)
        {
            _swaps.Drop(sequenceId);
        }

        return ticket;
    }

    /// <inheritdoc />
    public long BeginSwapIn(long sequenceId, ReadOnlySpan<int> blockIds)
    {
        var keys = _swaps.KeysOf(sequenceId, blockIds.Length);
        return Begin(_loads, keys, [], blockIds, []);
    }

    /// <inheritdoc />
    public void DropSwap(long sequenceId) => _swaps.Drop(sequenceId);

    /// <inheritdoc />
    public bool TryTakeDone(out KvTransferDone done)
    {
        var taken = _done.TryDequeue(out var entry);
        entry.Lane?.Release();
        done = entry.Done;
        return taken;
    }

    /// <summary>Turns down new transfers, finishes those begun and ends the threads.</summary>
    public void Dispose()
    {
        _loads.Dispose();
        _saves.Dispose();
        _notices.Dispose();
    }

    /// <summary>The counters under their Prometheus names.</summary>
    public void AddMetrics(List<Metric> metrics) => metrics.Add(new Metric(
        "kv_store_notices_dropped_total", true,
        "Times the store was not told that blocks were used or are to be kept, because too much waited.",
        _notices.Dropped));

    private long Begin(
        StoreConnectorLane lane, ReadOnlySpan<BlockKey> keys, ReadOnlySpan<BlockKey> parents,
        ReadOnlySpan<int> blockIds, ReadOnlySpan<BlockAttributes> attributes)
    {
        if (blockIds.Length != keys.Length)
        {
            throw new ArgumentException($"{keys.Length} keys need as many blocks, not {blockIds.Length}");
        }

        foreach (var blockId in blockIds)
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(
                (uint)blockId, (uint)_memory.BlockCount, nameof(blockIds));
        }

        var ticket = Interlocked.Increment(ref _lastTicket);
        if (keys.IsEmpty)
        {
            Report(new KvTransferDone(ticket, 0), null);
            return ticket;
        }

        return lane.TryBegin(ticket, keys, parents, blockIds, attributes) ? ticket : -1;
    }

    private bool Load(MovingBlock block)
    {
        var started = _rate?.Start() ?? 0;
        var found = _store.TryGet(block.Key, _memory.Block(block.BlockId));
        Measure(found, started);
        return found;
    }

    private bool Save(MovingBlock block)
    {
        var started = _rate?.Start() ?? 0;
        var result = _store.Put(block.Key, block.Parent, _memory.Block(block.BlockId), block.Attributes);
        Measure(result == PutResult.Stored, started);
        return result is PutResult.Stored or PutResult.Duplicate;
    }

    private void Measure(bool moved, long started)
    {
        if (moved)
        {
            _rate?.Add(_memory.Layout.BytesPerBlock, started);
        }
    }

    private void Finish(StoreConnectorLane lane, long ticket, int leading) =>
        Report(new KvTransferDone(ticket, leading), lane);

    private void Report(KvTransferDone done, StoreConnectorLane? lane)
    {
        _done.Enqueue((done, lane));
        _wake?.Invoke();
    }
}
