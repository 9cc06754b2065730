using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Placement;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Worker.Peers;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Worker;

/// <content>The worker as a member of a cluster.</content>
public sealed partial class KimiWorker
{
    /// <inheritdoc />
    public int BlocksTotal => _kv.BlockCount;

    /// <inheritdoc />
    public int SequencesMax { get; }

    /// <inheritdoc />
    public KvEventFeed? KvEvents { get; }

    /// <summary>Whether nothing new is taken and nothing is left to do for anybody: it is safe to stop.</summary>
    public bool IsDrained => _loop.Status() is
    {
        Draining: true, Waiting: 0, Loading: 0, Importing: 0, Exporting: 0, Running: 0, BlocksHeld: 0,
    };

    /// <inheritdoc />
    public NodeLoad Load()
    {
        var status = _loop.Status();
        var failure = _loop.Failure;
        return new NodeLoad
        {
            Waiting = status.Waiting,
            Running = status.Running + status.Loading + status.Importing,
            QueuedPrefillTokens = status.QueuedPrefillTokens,
            BlocksFree = status.BlocksFree,
            BlocksCached = status.BlocksCached,
            BlocksHeld = status.BlocksHeld,
            PrefillCost = Runner.Times.PrefillCost,
            DecodeStepSeconds = Runner.Times.DecodeSeconds,
            TransferBytesPerSecond = HandOvers.BytesPerSecond,
            Draining = status.Draining,
            Ready = failure is null,
            NotReadyReason = failure?.Message ?? "",
        };
    }

    /// <inheritdoc />
    public void BeginDrain() => _loop.Post(static engine => engine.BeginDrain());

    /// <summary>Tells the worker which nodes keep blocks for all.</summary>
    /// <param name="nodes">The nodes; replaces those told before.</param>
    public void SetStoreNodes(IReadOnlyList<StoreNodeAddress> nodes)
    {
        ArgumentNullException.ThrowIfNull(nodes);
        _peerConnector?.SetStoreNodes(nodes);
    }

    private PeerConnector ConnectPeers(
        WorkerPeers peers, string fingerprint, KvBlockStore? store, StoreConnectorOptions options, ILogger logger)
    {
        var client = new PeerBlockClient(peers.Transfer, peers.Invokers);
        var parts = new PeerParts(_kv, fingerprint, client, () => _address, peers.Blocks, Traffic, _time, logger)
        {
            Host = peers.Host,
            Replicas = peers.Replicas,
        };
        return new PeerConnector(
            parts,
            store is null ? null : wake => new StoreConnector(store, _kv, options, wake, _storeRate),
            (from, to) => Runner.Times.PrefillCost.Seconds(from, to),
            () => _loop?.Wake());
    }

    /// <summary>Finds out who has the blocks of a request, before the engine looks for them.</summary>
    private Task FindBlocksAsync(GenerationRequest request, CancellationToken cancellationToken) =>
        _peerConnector?.PrepareAsync(request, keys => KvEvents!.CountLeading(keys.Span), cancellationToken)
        ?? Task.CompletedTask;
}
