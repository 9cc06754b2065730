namespace Kimi.Mooncake.Store;

/// <summary>A snapshot of a store's counters. Counts begin at zero when the store is opened.</summary>
public sealed record StoreStatistics
{
    /// <summary>Blocks that can be found.</summary>
    public required long Blocks { get; init; }

    /// <summary>Blocks held in the memory tier; each of them is on disk too, or soon will be.</summary>
    public required long BlocksInMemory { get; init; }

    /// <summary>Bytes of the memory tier and of the write buffer.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>Bytes of the log and its index on disk.</summary>
    public required long DiskBytes { get; init; }

    /// <summary>Blocks found again when the store was opened.</summary>
    public required long Recovered { get; init; }

    /// <summary>Puts that stored a block.</summary>
    public required long Puts { get; init; }

    /// <summary>Puts of blocks that were stored already.</summary>
    public required long Duplicates { get; init; }

    /// <summary>Puts refused because the disk was too slow or failed.</summary>
    public required long Refused { get; init; }

    /// <summary>Gets answered from memory.</summary>
    public required long MemoryHits { get; init; }

    /// <summary>Gets answered from disk.</summary>
    public required long DiskHits { get; init; }

    /// <summary>Gets that found no usable block.</summary>
    public required long Misses { get; init; }

    /// <summary>Index entries, blocks and segments that failed a check and were removed.</summary>
    public required long Damaged { get; init; }

    /// <summary>Blocks dropped to stay within the disk limit.</summary>
    public required long Evicted { get; init; }

    /// <summary>Blocks in use that were written anew before their segment was dropped.</summary>
    public required long Rewritten { get; init; }

    /// <summary>Blocks dropped because the disk refused them after the put.</summary>
    public required long WriteFailures { get; init; }

    /// <summary>Flushes that wrote something.</summary>
    public required long Flushes { get; init; }

    /// <summary>Flushes that the disk refused at least in part.</summary>
    public required long FlushFailures { get; init; }
}
