using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <content>How long blocks are kept, who pays for them, and who is told.</content>
public sealed partial class KvBlockStore
{
    /// <summary>Holds blocks longer or more strongly than before, never less. Their prefixes stay with them.</summary>
    /// <param name="keys">Any keys.</param>
    /// <param name="retention">How long, from now.</param>
    /// <returns>How many of them are stored.</returns>
    public int Retain(ReadOnlySpan<BlockKey> keys, in BlockRetention retention)
    {
        var kept = retention;
        return ForEach(keys, (id, now) => _catalog.Retain(id, kept, now));
    }

    /// <summary>Takes the pins of blocks off; their lifetime stays.</summary>
    /// <param name="keys">Any keys.</param>
    /// <returns>How many of them are stored.</returns>
    public int Unpin(ReadOnlySpan<BlockKey> keys) => ForEach(keys, (id, _) => _catalog.Unpin(id));

    /// <summary>
    /// Counts a use of blocks whose bytes came from elsewhere, so that they are kept as if read here.
    /// </summary>
    /// <param name="keys">Any keys; those that are not stored are passed over.</param>
    public void Touch(ReadOnlySpan<BlockKey> keys) => ForEach(keys, (id, now) => _catalog.Index.Use(id, now));

    /// <summary>Holds the leading blocks for a reader: they are not evicted meanwhile.</summary>
    /// <param name="keys">Keys in the order of the prefix.</param>
    /// <param name="time">How long from now.</param>
    public StoreLease Lease(ReadOnlySpan<BlockKey> keys, TimeSpan time)
    {
        var leased = keys[..CountStored(keys)].ToArray();
        RenewLease(leased, time);
        return new StoreLease(this, leased);
    }

    /// <summary>Limits what a tenant may take. What it has beyond that goes when it stores more.</summary>
    /// <param name="tenant">Its name.</param>
    /// <param name="bytes">
    /// Most bytes on disk; 0: none of its own, but <see cref="KvBlockStoreOptions.TenantQuotaBytes"/>.
    /// </param>
    /// <exception cref="ArgumentException">The name has more than 120 bytes in UTF-8.</exception>
    public void SetQuota(string tenant, long bytes)
    {
        ArgumentNullException.ThrowIfNull(tenant);
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        CheckTenant(tenant);
        lock (_catalog.Gate)
        {
            _catalog.Index.SetQuota(_catalog.Index.Tenant(tenant), bytes);
        }
    }

    /// <summary>What each tenant has, in no order.</summary>
    public IReadOnlyList<TenantUsage> Tenants()
    {
        lock (_catalog.Gate)
        {
            var index = _catalog.Index;
            var tenants = new List<TenantUsage>(index.TenantCount);
            for (var tenant = 0; tenant < index.TenantCount; tenant++)
            {
                tenants.Add(new TenantUsage(
                    index.TenantName(tenant), index.CountOf(tenant), index.BytesOf(tenant), index.QuotaOf(tenant)));
            }

            return tenants;
        }
    }

    /// <summary>Tells somebody from now on which blocks can be found, beginning with those that are there.</summary>
    /// <param name="listener">Who is told.</param>
    public void Subscribe(IStoreListener listener)
    {
        ArgumentNullException.ThrowIfNull(listener);
        _catalog.Events.Add(listener);
        for (var id = -1; TellStored(listener, ref id);)
        {
            _catalog.Events.Tell();
        }

        _catalog.Events.Tell();
    }

    /// <summary>Holds blocks for a while.</summary>
    internal void RenewLease(ReadOnlySpan<BlockKey> keys, TimeSpan time)
    {
        var ms = (long)time.TotalMilliseconds;
        ForEach(keys, (id, now) => _catalog.Index.Lease(id, now + ms));
    }

    internal void CountLease(int change) => Interlocked.Add(ref _counters.Leases, change);

    private bool TellStored(IStoreListener listener, ref int id)
    {
        lock (_catalog.Gate)
        {
            for (var step = 0; step < LookUpStep; step++)
            {
                id = _catalog.Index.NextAfter(id);
                if (id < 0)
                {
                    return false;
                }

                _catalog.Events.NoteStored(_catalog.Index.KeyOf(id), _catalog.Index.ParentKeyOf(id), listener);
            }

            return true;
        }
    }

    private int ForEach(ReadOnlySpan<BlockKey> keys, Action<int, long> change)
    {
        var found = 0;
        for (var at = 0; at < keys.Length; at += LookUpStep)
        {
            lock (_catalog.Gate)
            {
                var now = _catalog.NowMs;
                foreach (ref readonly var key in keys.Slice(at, Math.Min(LookUpStep, keys.Length - at)))
                {
                    if (_catalog.Find(key) is >= 0 and var id)
                    {
                        change(id, now);
                        found++;
                    }
                }
            }
        }

        return found;
    }
}
