using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>The peers of this process by address, and which of them are store nodes. Any thread may call.</summary>
internal sealed class PeerBook(PeerBlocksOptions options, TimeProvider time)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Peer> _peers = [];
    private volatile Peer[] _stores = [];

    /// <summary>Peers that keep blocks for all.</summary>
    public IReadOnlyList<Peer> Stores => _stores;

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
    public void SetStores(IEnumerable<string> addresses)
    {
        lock (_gate)
        {
            _stores = [.. addresses.Distinct(StringComparer.Ordinal).Select(Find)];
        }
    }

    /// <summary>The store node that keeps a block; null when there is none.</summary>
    public Peer? StoreOf(in BlockKey key)
    {
        Peer? chosen = null;
        var weight = 0UL;
        foreach (var store in _stores)
        {
            if (store.WeightOf(key) is var mine && (chosen is null || mine > weight))
            {
                (chosen, weight) = (store, mine);
            }
        }

        return chosen;
    }

    /// <summary>Peers that calls are kept away from at the moment.</summary>
    public int CountOpen()
    {
        lock (_gate)
        {
            return _peers.Values.Count(static peer => peer.Breaker.State != BreakerState.Closed);
        }
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
            foreach (var store in _stores)
            {
                _peers.TryAdd(store.Address, store);
            }
        }

        return _peers[address] = new Peer(address, options, time);
    }
}
