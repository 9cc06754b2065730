namespace Kimi.Mooncake.Store;

/// <content>Blocks go when room is needed: one at a time, the lock free between them.</content>
internal sealed partial class StoreWriter
{
    // While its child is being put, a parent does not go to make room for it.
    private const int ParentLeaseMs = 1_000;

    /// <summary>Evicts until a block fits; false, counted, when what is there may not go.</summary>
    private bool HasRoom(in BlockHeader header)
    {
        var bytes = _geometry.EntryBytesOf(header.StoredBytes);
        while (true)
        {
            lock (_catalog.Gate)
            {
                var index = _catalog.Index;
                var tenant = index.Tenant(header.Tenant);
                var quota = index.QuotaOf(tenant);
                var overQuota = quota > 0 && index.BytesOf(tenant) + bytes > quota;
                if (!overQuota && index.Bytes + bytes <= _geometry.LiveBytesHigh)
                {
                    return true;
                }

                var now = _catalog.NowMs;
                int victim;
                if (overQuota ? index.TryPickVictim(tenant, now, out victim) : index.TryPickVictim(now, out victim))
                {
                    if (victim == index.Find(header.Parent, now))
                    {
                        // Only where it is next: a tenant with many protected blocks would live on those of others.
                        index.Lease(victim, now + ParentLeaseMs);
                    }
                    else
                    {
                        Evict(victim, now, overQuota ? Loss.Quota : Loss.Room);
                    }

                    continue;
                }

                Interlocked.Increment(ref overQuota ? ref _counters.RefusedQuota : ref _counters.RefusedPinned);
                return false;
            }
        }
    }

    /// <summary>Removes what has expired, and evicts and demotes down to the low watermarks.</summary>
    private void Trim()
    {
        var high = _geometry.LiveBytesHigh - (2 * _geometry.EntryBytes);
        for (var evict = false; TrimOne(ref evict, high);)
        {
        }

        for (var demote = false; DemoteOne(ref demote);)
        {
        }
    }

    private bool TrimOne(ref bool evict, long high)
    {
        lock (_catalog.Gate)
        {
            var index = _catalog.Index;
            var now = _catalog.NowMs;
            evict |= index.Bytes > high;
            evict &= index.Bytes > _geometry.LiveBytesLow;
            if (!index.TryPickVictim(now, out var victim) || !(evict || index.IsExpired(victim, now)))
            {
                return false;
            }

            Evict(victim, now, Loss.Room);
            return true;
        }
    }

    private bool DemoteOne(ref bool demote)
    {
        lock (_catalog.Gate)
        {
            var free = _catalog.Slots.FreeCount;
            demote |= free < _geometry.FreeSlotsLow;
            return demote && free < _geometry.FreeSlotsHigh && _catalog.TryDemote();
        }
    }

    private void Evict(int victim, long now, Loss loss) =>
        _catalog.Remove(victim, _catalog.Index.IsExpired(victim, now) ? Loss.Expired : loss);
}
