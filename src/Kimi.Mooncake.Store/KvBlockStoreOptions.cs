using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Retention;

namespace Kimi.Mooncake.Store;

/// <summary>Where the store keeps blocks and how much it may use.</summary>
public sealed record KvBlockStoreOptions
{
    /// <summary>Folder of the store; created when missing. Empty: the caller runs without a store.</summary>
    [Setting("Folder in which KV blocks are kept over restarts, a folder in it per model; empty turns the store off.")]
    public string Directory { get; init; } = "";

    /// <summary>Memory of the store: write buffer and memory tier together.</summary>
    [Setting("Memory for the write buffer and the memory tier of the store.", Unit = "bytes",
        Min = 64 * 1024, Max = 1L << 44)]
    public long MemoryBytes { get; init; } = 256L << 20;

    /// <summary>Most bytes of files in <see cref="Directory"/>.</summary>
    [Setting("Most bytes that the files of one model take; beyond it blocks are evicted.", Unit = "bytes",
        Min = 256 * 1024, Max = 1L << 50)]
    public long DiskBytes { get; init; } = 8L << 30;

    /// <summary>
    /// Bytes of one segment file, a power of two: the unit in which room is reclaimed. Raised to the page size
    /// where blocks are large. A store written with another value starts empty.
    /// </summary>
    [Setting("Bytes of one segment file, a power of two; room is reclaimed in this unit.", Unit = "bytes",
        Min = 64 * 1024, Max = 1L << 30)]
    public long SegmentBytes { get; init; } = 64L << 20;

    /// <summary>Longest time that a stored block waits before it is written to disk.</summary>
    [Setting("Longest time that a block waits before it is on disk; a killed process loses about this much.",
        Unit = "ms", Min = 1, Max = 60_000)]
    public int FlushIntervalMs { get; init; } = 100;

    /// <summary>
    /// Whether a flush waits until the drive has the blocks. Without it a killed process loses what it loses with it,
    /// but a power cut may lose blocks that the system had not written yet; they are then misses.
    /// </summary>
    [Setting("Whether a flush waits for the drive, so that a power cut loses no more than a killed process does.")]
    public bool SyncToDrive { get; init; }

    /// <summary>Longest time that a put waits for the disk before it is refused.</summary>
    [Setting("Longest time that a put waits for the disk before it is refused.", Unit = "ms", Min = 0, Max = 60_000)]
    public int PutWaitMsMax { get; init; } = 2_000;

    /// <summary>Time for which puts are refused after the disk refused a write or kept a put waiting.</summary>
    [Setting("Time for which puts are refused after the disk refused a write or kept a put waiting.",
        Unit = "ms", Min = 0, Max = 600_000)]
    public int RetryAfterErrorMs { get; init; } = 1_000;

    /// <summary>In which order blocks go when room is needed; pins, leases and prefixes come before it.</summary>
    [Setting("In which order blocks are evicted.")]
    public EvictionPolicyKind Eviction { get; init; } = EvictionPolicyKind.Cost;

    /// <summary>Share of the disk's room that blocks may fill; above it they are evicted.</summary>
    [Setting("Share of the disk's room above which blocks are evicted.", Unit = "percent", Min = 1, Max = 95)]
    public int DiskHighPercent { get; init; } = 85;

    /// <summary>Share of the disk's room down to which blocks are evicted once they fill too much.</summary>
    [Setting("Share of the disk's room down to which blocks are evicted.", Unit = "percent", Min = 1, Max = 95)]
    public int DiskLowPercent { get; init; } = 80;

    /// <summary>Share of the memory tier that blocks may fill; above it the least used leave it.</summary>
    [Setting("Share of the memory tier above which blocks leave it.", Unit = "percent", Min = 1, Max = 100)]
    public int MemoryHighPercent { get; init; } = 98;

    /// <summary>Share of the memory tier down to which blocks leave it once they fill too much.</summary>
    [Setting("Share of the memory tier down to which blocks leave it.", Unit = "percent", Min = 1, Max = 100)]
    public int MemoryLowPercent { get; init; } = 95;

    /// <summary>
    /// Reads from disk after which a block is kept in memory again. With 1 each first read also pays for a copy, of
    /// which most blocks never make use: a worker has what it read in its own pool.
    /// </summary>
    [Setting("Reads from disk after which a block is kept in memory again.", Unit = "reads", Min = 1, Max = 250)]
    public int PromoteAfterReads { get; init; } = 2;

    /// <summary>
    /// How long a block that is being read from disk is protected from eviction; renewed by long reads.
    /// </summary>
    [Setting("How long a block that is being read is protected from eviction; long reads renew it.", Unit = "ms",
        Min = 1, Max = 600_000)]
    public int ReadLeaseMs { get; init; } = 5_000;

    /// <summary>Bytes that are asked of the disk ahead while a run of blocks is read.</summary>
    [Setting("Bytes that are asked of the disk ahead while a run of blocks is read.", Unit = "bytes",
        Min = 0, Max = 1L << 30)]
    public long ReadAheadBytes { get; init; } = 16L << 20;

    /// <summary>Whether blocks are compressed on disk.</summary>
    [Setting("Whether blocks are compressed on disk: less room for more time.")]
    public StoreCompression Compression { get; init; } = StoreCompression.None;

    /// <summary>A tenant that neither stores nor reads for so long loses its claim to a fair share.</summary>
    [Setting("Time without a read or put after which a tenant's blocks go before those of others.", Unit = "s",
        Min = 1, Max = 31_622_400)]
    public int TenantIdleSeconds { get; init; } = 3_600;

    /// <summary>Most bytes of a tenant that was given no quota of its own; 0: a fair share of what there is.</summary>
    [Setting("Most bytes of each tenant that the tenants file gives no quota; 0 for a fair share of what there is.",
        Unit = "bytes", Min = 0, Max = 1L << 50)]
    public long TenantQuotaBytes { get; init; }
}
