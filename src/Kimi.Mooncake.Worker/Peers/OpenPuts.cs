using System.Diagnostics.CodeAnalysis;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Transfer;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// Puts of other processes between their begin and their end: memory that is reserved for them, and the keys that are
/// on their way, which nobody else need send meanwhile. One that is not finished in time is given up. Any thread may
/// call.
/// </summary>
internal sealed class OpenPuts : IAsyncDisposable
{
    private readonly KvBlockStore _store;
    private readonly TransferEngine _transfer;
    private readonly BlockServingOptions _options;
    private readonly BlockTraffic _traffic;
    private readonly TimeProvider _time;
    private readonly StagingBlocks _staging;
    private readonly ITimer _expiry;
    private readonly Lock _gate = new();
    private readonly Dictionary<ReservationId, Put> _puts = [];
    private readonly HashSet<BlockKey> _arriving = [];
    private readonly Dictionary<BlockKey, BlockRetention> _retainedOnArrival = [];
    private int _ending;
    private bool _stopped;
    private bool _closed;

    public OpenPuts(
        KvBlockStore store, KvLayout layout, TransferEngine transfer, BlockServingOptions options, BlockTraffic traffic,
        TimeProvider time)
    {
        _store = store;
        _transfer = transfer;
        _options = options;
        _traffic = traffic;
        _time = time;
        _staging = new StagingBlocks(layout, options.PutStagingBytes);
        var period = TimeSpan.FromMilliseconds(Math.Max(1, options.PutExpiresMs / 4));
        _expiry = time.CreateTimer(static state => ((OpenPuts)state!).Expire(), this, period, period);
    }

    private sealed record Put(
        Reservation Reservation, int[] Slots, BlockKey[] Keys, BlockKey[] Parents, BlockAttributes Attributes,
        long BegunAt);

    /// <summary>Puts that are open.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _puts.Count;
            }
        }
    }

    private int Ending
    {
        get
        {
            lock (_gate)
            {
                return _ending;
            }
        }
    }

    /// <summary>Blocks that still fit the memory.</summary>
    public int FreeBlocks => _staging.FreeCount;

    /// <summary>Reserves memory for the blocks that are wanted.</summary>
    /// <param name="keys">Keys on offer.</param>
    /// <param name="parents">Key of the block before each.</param>
    /// <param name="attributes">What is stored with each; those that are stored already are kept as long.</param>
    /// <param name="id">The reservation; default when no block is wanted.</param>
    /// <param name="wanted">For each slot of the reservation the index of its key.</param>
    /// <param name="left">Blocks that are not stored, and not wanted now.</param>
    /// <returns>False when too many puts are open, or no memory is left for what is wanted.</returns>
    public bool TryBegin(
        BlockKey[] keys, BlockKey[] parents, BlockAttributes attributes, out ReservationId id,
        [NotNullWhen(true)] out int[]? wanted, out int left)
    {
        var isBegun = TryReserve(keys, parents, attributes, out id, out wanted, out left);
        if (attributes.Retention != default)
        {
            // Afterwards: what was on its way before, and is not any more, is stored now.
            _store.Retain(keys, attributes.Retention);
        }

        return isBegun;
    }

    /// <summary>Has blocks kept longer, those that are on their way too.</summary>
    /// <returns>Blocks that are stored.</returns>
    public int Retain(BlockKey[] keys, in BlockRetention retention)
    {
        lock (_gate)
        {
            foreach (ref readonly var key in keys.AsSpan())
            {
                if (_arriving.Contains(key))
                {
                    RetainOnArrival(key, retention);
                }
            }
        }

        return _store.Retain(keys, retention);
    }

    /// <summary>Ends a put: stores what has come.</summary>
    /// <returns>Blocks that are stored now; null when there is no such put, or not all of it has come.</returns>
    public int? Commit(ReservationId id)
    {
        Put? put;
        lock (_gate)
        {
            if (!_puts.Remove(id, out put))
            {
                return null;
            }

            _ending++;
        }

        try
        {
            // From here on nothing writes there, so that what is counted is what is stored.
            put.Reservation.Dispose();
            return put.Reservation.BytesWritten == (long)put.Slots.Length * _store.BlockBytes ? Store(put) : null;
        }
        finally
        {
            Forget(put);
        }
    }

    /// <summary>Takes no more puts; open ones may end.</summary>
    public void Stop()
    {
        lock (_gate)
        {
            _stopped = true;
        }
    }

    /// <summary>Gives all open puts up, and waits for those that are being stored.</summary>
    public async ValueTask DisposeAsync()
    {
        lock (_gate)
        {
            if (_closed)
            {
                return;
            }

            _closed = true;
            _stopped = true;
        }

        await _expiry.DisposeAsync().ConfigureAwait(false);
        GiveUp(static _ => true);
        while (Ending > 0)
        {
            await Task.Delay(1).ConfigureAwait(false);
        }

        _staging.Dispose();
    }

    private bool TryReserve(
        BlockKey[] keys, BlockKey[] parents, BlockAttributes attributes, out ReservationId id,
        [NotNullWhen(true)] out int[]? wanted, out int left)
    {
        lock (_gate)
        {
            id = default;
            wanted = Wanted(keys, attributes.Retention, out left);
            if (wanted.Length == 0)
            {
                return true;
            }

            var slots = _stopped || _puts.Count >= _options.PutsMax ? [] : _staging.Take(wanted.Length);
            if (slots.Length == 0)
            {
                wanted = null;
                return false;
            }

            // The rest is wanted another time: a store that has part of a prefix is better than none.
            left += wanted.Length - slots.Length;
            wanted = wanted[..slots.Length];
            var put = new Put(
                Reserve(slots),
                slots,
                Array.ConvertAll(wanted, index => keys[index]),
                Array.ConvertAll(wanted, index => parents[index]),
                attributes,
                _time.GetTimestamp());
            id = put.Reservation.Id;
            _puts.Add(id, put);
            _arriving.UnionWith(put.Keys);
            return true;
        }
    }

    /// <summary>The keys that nobody sends; of those that somebody does, remembers how long they are kept.</summary>
    private int[] Wanted(BlockKey[] keys, BlockRetention retention, out int left)
    {
        left = 0;
        var wanted = new List<int>(keys.Length);
        var seen = new HashSet<BlockKey>();
        for (var i = 0; i < keys.Length; i++)
        {
            if (_arriving.Contains(keys[i]))
            {
                left++;
                RetainOnArrival(keys[i], retention);
            }
            else if (!_store.Contains(keys[i]) && seen.Add(keys[i]))
            {
                wanted.Add(i);
            }
        }

        return [.. wanted];
    }

    private void RetainOnArrival(in BlockKey key, BlockRetention retention)
    {
        if (retention != default)
        {
            _retainedOnArrival[key] = _retainedOnArrival.TryGetValue(key, out var other)
                ? BlockRetention.Strongest(other, retention)
                : retention;
        }
    }

    private int Store(Put put)
    {
        var stored = 0;
        for (var i = 0; i < put.Slots.Length; i++)
        {
            var result = _store.Put(put.Keys[i], put.Parents[i], _staging[put.Slots[i]], put.Attributes);
            stored += result == PutResult.Refused ? 0 : 1;
        }

        _traffic.AddTaken(stored, (long)stored * _store.BlockBytes);
        return stored;
    }

    private void Expire()
    {
        var given = GiveUp(put =>
            _time.GetElapsedTime(put.BegunAt) >= TimeSpan.FromMilliseconds(_options.PutExpiresMs));
        for (; given > 0; given--)
        {
            _traffic.AddPutExpired();
        }
    }

    private int GiveUp(Func<Put, bool> which)
    {
        Put[] given;
        lock (_gate)
        {
            given = [.. _puts.Values.Where(which)];
            foreach (var put in given)
            {
                _puts.Remove(put.Reservation.Id);
            }

            _ending += given.Length;
        }

        foreach (var put in given)
        {
            put.Reservation.Dispose();
            Forget(put);
        }

        return given.Length;
    }

    private void Forget(Put put)
    {
        _staging.Give(put.Slots);
        List<(BlockKey Key, BlockRetention Retention)> retained = [];
        lock (_gate)
        {
            _arriving.ExceptWith(put.Keys);
            foreach (var key in put.Keys)
            {
                if (_retainedOnArrival.Remove(key, out var retention))
                {
                    retained.Add((key, retention));
                }
            }
        }

        foreach (var (key, retention) in retained)
        {
            _store.Retain([key], retention);
        }

        lock (_gate)
        {
            _ending--;
        }
    }

    private Reservation Reserve(int[] slots)
    {
        try
        {
            return _transfer.Reserve(Array.ConvertAll(slots, _staging.AddressOf), _store.BlockBytes);
        }
        catch
        {
            _staging.Give(slots);
            throw;
        }
    }
}
