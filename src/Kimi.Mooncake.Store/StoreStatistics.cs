namespace Kimi.Mooncake.Store;

/// <summary>A snapshot of a store's counters. Counts begin at zero when the store is opened.</summary>
public sealed record StoreStatistics
{
    /// <summary>Blocks that can be found.</summary>
    public required long Blocks { get; init; }

    /// <summary>Blocks held in the memory tier; each of them is on disk too, or soon will be.</summary>
    public required long BlocksInMemory { get; init; }

    /// <summary>Blocks that the memory tier can hold.</summary>
    public required long MemorySlots { get; init; }

    /// <summary>Bytes of the memory tier and of the write buffer.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>Bytes of memory that the accounting of blocks takes.</summary>
    public required long MetadataBytes { get; init; }

    /// <summary>Bytes of the log and its index on disk.</summary>
    public required long DiskBytes { get; init; }

    /// <summary>Most bytes of files.</summary>
    public required long DiskCapacityBytes { get; init; }

    /// <summary>Segment files.</summary>
    public required long Segments { get; init; }

    /// <summary>Bytes in the log of blocks that can be found.</summary>
    public required long LiveBytes { get; init; }

    /// <summary>Bytes of blocks above which they are evicted.</summary>
    public required long LiveCapacityBytes { get; init; }

    /// <summary>Bytes of the log that hold nothing any more; freed when their segment is compacted.</summary>
    public required long DeadBytes { get; init; }

    /// <summary>Segments of earlier runs that have not been looked at.</summary>
    public required long SegmentsToScan { get; init; }

    /// <summary>Blocks found again since the store was opened.</summary>
    public required long Recovered { get; init; }

    /// <summary>Tenants that the store knows.</summary>
    public required long Tenants { get; init; }

    /// <summary>Blocks with a soft pin.</summary>
    public required long SoftPinned { get; init; }

    /// <summary>Blocks with a hard pin.</summary>
    public required long HardPinned { get; init; }

    /// <summary>Leases that callers hold.</summary>
    public required long Leases { get; init; }

    /// <summary>Puts that stored a block.</summary>
    public required long Puts { get; init; }

    /// <summary>Puts of blocks that were stored already.</summary>
    public required long Duplicates { get; init; }

    /// <summary>Puts refused, for whatever reason.</summary>
    public long Refused => RefusedDisk + RefusedPinned + RefusedQuota;

    /// <summary>Puts refused because the disk was too slow or failed.</summary>
    public required long RefusedDisk { get; init; }

    /// <summary>Puts refused because everything stored is pinned, leased or the prefix of such a block.</summary>
    public required long RefusedPinned { get; init; }

    /// <summary>Puts refused because the tenant's quota is full of what may not go.</summary>
    public required long RefusedQuota { get; init; }

    /// <summary>Bytes of the blocks that were put.</summary>
    public required long PayloadBytesPut { get; init; }

    /// <summary>Bytes that they took on disk without headers: less where they are compressed.</summary>
    public required long StoredBytesPut { get; init; }

    /// <summary>Gets answered from memory.</summary>
    public required long MemoryHits { get; init; }

    /// <summary>Gets answered from disk.</summary>
    public required long DiskHits { get; init; }

    /// <summary>Gets that found no usable block.</summary>
    public required long Misses { get; init; }

    /// <summary>Index entries, blocks and segments that failed a check and were removed.</summary>
    public required long Damaged { get; init; }

    /// <summary>Blocks that callers removed.</summary>
    public required long Removed { get; init; }

    /// <summary>Blocks dropped, for whatever reason, to make room.</summary>
    public long Evicted => EvictedForRoom + EvictedForQuota;

    /// <summary>Blocks dropped to stay within the disk's limit.</summary>
    public required long EvictedForRoom { get; init; }

    /// <summary>Blocks dropped to keep a tenant within its quota.</summary>
    public required long EvictedForQuota { get; init; }

    /// <summary>Blocks dropped because their time was over.</summary>
    public required long Expired { get; init; }

    /// <summary>Blocks that came back to memory when they were read.</summary>
    public required long Promoted { get; init; }

    /// <summary>Blocks that left memory for others; they are still on disk.</summary>
    public required long Demoted { get; init; }

    /// <summary>Blocks moved to the end of the log to free their segments.</summary>
    public required long Moved { get; init; }

    /// <summary>Segments whose blocks were moved.</summary>
    public required long SegmentsCompacted { get; init; }

    /// <summary>Blocks dropped because the disk refused them after the put.</summary>
    public required long WriteFailures { get; init; }

    /// <summary>Blocks and files that the disk did not give back.</summary>
    public required long ReadFailures { get; init; }

    /// <summary>Flushes that wrote something.</summary>
    public required long Flushes { get; init; }

    /// <summary>Flushes that the disk refused at least in part.</summary>
    public required long FlushFailures { get; init; }
}
