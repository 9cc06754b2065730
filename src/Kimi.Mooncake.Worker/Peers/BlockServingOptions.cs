using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>How much a process does to give its blocks to others and to take theirs.</summary>
public sealed record BlockServingOptions
{
    /// <summary>Keys in one call.</summary>
    [Setting("Block keys in one call of another process.", Unit = "keys", Min = 1, Max = 1_048_576)]
    public int KeysMax { get; init; } = 65_536;

    /// <summary>Pulls served at once; one more is refused, and computed there.</summary>
    [Setting("Pulls served at once; one more is refused, and the other process computes.",
        Unit = "pulls", Min = 1, Max = 1024)]
    public int PullsMax { get; init; } = 16;

    /// <summary>Memory for blocks on their way from the store to others.</summary>
    [Setting("Memory for blocks on their way from the store to other processes.",
        Unit = "bytes", Min = 64 << 10, Max = 1L << 40)]
    public long PullStagingBytes { get; init; } = 64L << 20;

    /// <summary>Bytes read from the store while the bytes before them travel.</summary>
    [Setting("Bytes read from the store for a pull while the bytes before them travel.",
        Unit = "bytes", Min = 1, Max = 1 << 30)]
    public int PullBatchBytes { get; init; } = 8 << 20;

    /// <summary>Part of the pool that pulls may hold at once, as one of this many.</summary>
    [Setting("Pulls may hold one part in this many of the KV pool at once.", Min = 1, Max = 1024)]
    public int PullPoolShare { get; init; } = 4;

    /// <summary>Longest time to copy one batch of blocks to another store node.</summary>
    [Setting("Longest time to copy one batch of blocks to another store node.", Unit = "ms", Min = 10, Max = 600_000)]
    public int CopyTimeoutMs { get; init; } = 10_000;

    /// <summary>Keys of stored blocks that the conductor is told of; further ones are left out, and counted.</summary>
    [Setting("Keys of its blocks that a store node tells the conductor (about 100 bytes each); further ones are left " +
        "out and counted.", Unit = "keys", Min = 1, Max = 500_000_000)]
    public int KeysToldMax { get; init; } = 2_000_000;

    /// <summary>Puts begun and not finished; one more is refused.</summary>
    [Setting("Puts of other processes begun and not finished; one more is refused.",
        Unit = "puts", Min = 1, Max = 65_536)]
    public int PutsMax { get; init; } = 64;

    /// <summary>Memory for blocks on their way from others to the store.</summary>
    [Setting("Memory for blocks on their way from other processes to the store.",
        Unit = "bytes", Min = 64 << 10, Max = 1L << 40)]
    public long PutStagingBytes { get; init; } = 256L << 20;

    /// <summary>Time after which a put that was not finished is given up.</summary>
    [Setting("Time after which a put that another process began and did not finish is given up.",
        Unit = "ms", Min = 10, Max = 3_600_000)]
    public int PutExpiresMs { get; init; } = 30_000;
}
