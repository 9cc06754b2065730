namespace Kimi.Mooncake.Store;

/// <summary>Counts of a store; changed with interlocked operations only.</summary>
internal sealed class StoreCounters
{
    public long Recovered;
    public long Puts;
    public long Duplicates;
    public long Refused;
    public long MemoryHits;
    public long DiskHits;
    public long Misses;
    public long Damaged;
    public long Evicted;
    public long Rewritten;
    public long WriteFailures;
    public long Flushes;
    public long FlushFailures;
}
