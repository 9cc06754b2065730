namespace Kimi.Mooncake.Store;

/// <summary>Counts of a store; changed with interlocked operations, or all under the catalog's lock.</summary>
internal sealed class StoreCounters
{
    public long Recovered;
    public long Puts;
    public long Duplicates;
    public long RefusedDisk;
    public long RefusedPinned;
    public long RefusedQuota;
    public long MemoryHits;
    public long DiskHits;
    public long Misses;
    public long Damaged;
    public long Removed;
    public long EvictedForRoom;
    public long EvictedForQuota;
    public long Expired;
    public long Promoted;
    public long Demoted;
    public long Moved;
    public long SegmentsCompacted;
    public long WriteFailures;
    public long ReadFailures;
    public long Flushes;
    public long FlushFailures;
    public long PayloadBytesPut;
    public long StoredBytesPut;
    public int Leases;
}
