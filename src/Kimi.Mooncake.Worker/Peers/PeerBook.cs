using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Placement;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>The peers of this process by address, and which of them are store nodes. Any thread may call.</summary>
/// <param name="options">Bounds.</param>
/// <param name="time">Clock.</param>
/// <param name="ownHost">Name of the machine of this process; empty: no other process is on it.</param>
internal sealed class PeerBook(PeerBlocksOptions options, TimeProvider time, string ownHost = "")
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Peer> _peers = [];
    private volatile StoreSet _stores = new([], new ReplicaPlacement([]));

    private sealed record StoreSet(Peer[] Peers, ReplicaPlacement Placement);

    /// <summary>Peers that keep blocks for all.</summary>
    public IReadOnlyList<Peer> Stores => _stores.Peers;

    public Peer this[string address]
    {
        get
        {
            lock (_gate)
            {
                return Find(address);
            }
        }
    }

    /// <summary>Replaces the list of store nodes.</summary>
    public void SetStores(IEnumerable<StoreNodeAddress> nodes)
    {
        var placement = new ReplicaPlacement(nodes);
        lock (_gate)
        {
            _stores = new StoreSet([.. placement.Nodes.Select(node => Find(node.Address))], placement);
            foreach (var (peer, node) in _stores.Peers.Zip(placement.Nodes))
            {
                peer.IsNear = ownHost.Length > 0 && node.Host == ownHost;
            }
        }
    }

    /// <summary>The store nodes that keep a placement group, as they are placed.</summary>
    /// <param name="groupKey">Key of the group's first block.</param>
    /// <param name="replicas">How many are wanted; there are fewer where there are fewer nodes.</param>
    public Peer[] ReplicasOf(in BlockKey groupKey, int replicas)
    {
        var stores = _stores;
        Span<int> chosen = stackalloc int[replicas];
        var peers = new Peer[stores.Placement.Choose(groupKey, chosen)];
        for (var i = 0; i < peers.Length; i++)
        {
            peers[i] = stores.Peers[chosen[i]];
        }

        return peers;
    }

    /// <summary>Peers that calls are kept away from at the moment.</summary>
    public int CountOpen()
    {
        lock (_gate)
        {
            return _peers.Values.Count(static peer => peer.Breaker.State != BreakerState.Closed);
        }
    }

    /// <summary>Store nodes that answer or send far slower than the fastest.</summary>
    public int CountSlow()
    {
        var stores = _stores.Peers;
        var fastest = ReplicaChoice.Fastest(stores);
        return stores.Count(store => ReplicaChoice.IsSlow(store, fastest, options));
    }

    private Peer Find(string address)
    {
        if (_peers.TryGetValue(address, out var peer))
        {
            return peer;
        }

        if (_peers.Count >= options.PeersMax)
        {
            // What was learnt of the others is learnt again; an address that is used comes back with its next use.
            _peers.Clear();
            foreach (var store in _stores.Peers)
            {
                _peers.TryAdd(store.Address, store);
            }
        }

        return _peers[address] = new Peer(address, options, time);
    }
}
