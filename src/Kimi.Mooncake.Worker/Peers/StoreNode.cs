using Grpc.Core;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// A process that keeps blocks for all others: a store, and the service through which they put and pull. It computes
/// nothing and has no weights in memory. Its blocks outlive it.
/// </summary>
public sealed class StoreNode : INode, IAsyncDisposable
{
    private readonly KvBlockStore _store;
    private readonly BlockTraffic _traffic = new();
    private readonly StoredKeys _keys;
    private volatile bool _draining;

    /// <summary>Makes a node; whoever made its parts disposes of them, after it.</summary>
    /// <param name="model">The model whose blocks it keeps; its weights are not read.</param>
    /// <param name="worker">What the workers of the cluster are given too; says the size of a block.</param>
    /// <param name="store">The store, opened for this model.</param>
    /// <param name="transfer">Carries the bytes.</param>
    /// <param name="options">Limits.</param>
    /// <param name="time">Clock.</param>
    /// <param name="invokers">Makes calls to other store nodes, named by their addresses.</param>
    /// <param name="logger">Takes what an operator should know.</param>
    /// <exception cref="ArgumentException">The store's blocks are not those of the model.</exception>
    public StoreNode(
        LoadedModel model, WorkerOptions worker, KvBlockStore store, TransferEngine transfer,
        BlockServingOptions options, TimeProvider time, Func<string, CallInvoker> invokers, ILogger logger)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(store);
        ArgumentNullException.ThrowIfNull(transfer);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(time);
        var layout = KimiWorker.LayoutOf(model, worker);
        if (store.BlockBytes != layout.BytesPerBlock)
        {
            throw new ArgumentException(
                $"blocks of the model have {layout.BytesPerBlock} bytes, those of the store {store.BlockBytes}",
                nameof(store));
        }

        Model = new ModelCard(
            model.Id, model.Config.ContextLength, model.Config.VocabularySize, model.Fingerprint, layout,
            time.GetUtcNow().ToUnixTimeSeconds());
        _store = store;
        var served = new BlocksServed(layout, model.Fingerprint, Pool: null, store, TakesPuts: true);
        Blocks = new BlocksService(served, transfer, options, _traffic, time, invokers, logger);
        _keys = new StoredKeys(options.KeysToldMax, logger);
        store.Subscribe(_keys);
        Generation = new StoreNodeStatus(this);
    }

    /// <inheritdoc />
    public ModelCard Model { get; }

    /// <inheritdoc />
    public int BlocksTotal => 0;

    /// <inheritdoc />
    public int SequencesMax => 0;

    /// <summary>Keys of its blocks, as many as may be told.</summary>
    public KvEventFeed? KvEvents => _keys.Feed;

    /// <summary>The gRPC service of blocks, to be mapped by the process's server as a singleton.</summary>
    public BlocksService Blocks { get; }

    /// <summary>The gRPC service that tells model and metrics, to be mapped likewise; it generates nothing.</summary>
    public StoreNodeStatus Generation { get; }

    /// <inheritdoc />
    public NodeLoad Load() => new() { Ready = true, Draining = _draining };

    /// <summary>What is stored, and what was counted.</summary>
    public WorkerStatus Status()
    {
        var metrics = new List<Metric>();
        _traffic.AddTo(metrics);
        WorkerMetrics.AddStore(metrics, _store.Statistics());
        metrics.Add(new Metric("kv_told_keys", false, "Keys of stored blocks that the conductor is told of.",
            _keys.Feed.Count));
        metrics.Add(new Metric("kv_untold_keys_total", true, "Keys left out because there were too many.",
            _keys.Feed.Untold));
        return new WorkerStatus
        {
            Ready = !_draining,
            NotReadyReason = _draining ? "the store node is draining" : "",
            Waiting = 0,
            Running = 0,
            BlocksTotal = 0,
            BlocksFree = 0,
            BlocksCached = 0,
            BlocksHeld = 0,
            Metrics = metrics,
        };
    }

    /// <summary>
    /// Takes no more puts; what it has can still be pulled. Calling it again changes nothing.
    /// </summary>
    public void BeginDrain()
    {
        _draining = true;
        Blocks.StopPuts();
    }

    /// <summary>Gives open puts up. The server must have ended its calls before.</summary>
    public ValueTask DisposeAsync() => Blocks.DisposeAsync();
}
