using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>Blocks that are not evicted for a while, because somebody is about to read them.</summary>
public sealed class StoreLease : IDisposable
{
    private readonly KvBlockStore _store;
    private BlockKey[] _keys;
    private bool _ended;

    internal StoreLease(KvBlockStore store, BlockKey[] keys)
    {
        _store = store;
        _keys = keys;
        Blocks = keys.Length;
        store.CountLease(1);
    }

    /// <summary>How many of the first keys were there, without a gap; these are held.</summary>
    public int Blocks { get; }

    /// <summary>Holds the blocks from now on for a while; a lease is never shortened. None after the end.</summary>
    /// <param name="time">How long from now.</param>
    public void Renew(TimeSpan time) => _store.RenewLease(_keys, time);

    /// <summary>Renews no more; what was leased runs out by itself.</summary>
    public void Dispose()
    {
        if (!_ended)
        {
            _ended = true;
            _keys = [];
            _store.CountLease(-1);
        }
    }
}
