using Kimi.Mooncake.Core;

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

    /// <summary>Most bytes of files in <see cref="Directory"/>; the oldest segment goes first.</summary>
    [Setting("Most bytes that the files of one model take; the oldest blocks go first.", Unit = "bytes",
        Min = 256 * 1024, Max = 1L << 50)]
    public long DiskBytes { get; init; } = 8L << 30;

    /// <summary>
    /// Bytes of one segment file, a power of two: the unit in which old blocks are dropped. Raised to the page size
    /// where blocks are large. A store written with another value starts empty.
    /// </summary>
    [Setting("Bytes of one segment file, a power of two; old blocks are dropped in this unit.", Unit = "bytes",
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
}
