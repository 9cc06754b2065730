using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>How a worker gets blocks from other processes and gives them to store nodes.</summary>
public sealed record PeerBlocksOptions
{
    /// <summary>Longest time that a request waits for store nodes to say what they have.</summary>
    [Setting("Longest time that a request waits for store nodes to say which of its blocks they have.",
        Unit = "ms", Min = 1, Max = 60_000)]
    public int MatchTimeoutMs { get; init; } = 250;

    /// <summary>Wait for a store node's answer before the next replica is asked too.</summary>
    [Setting("Wait for a store node to say what it has before the next replica is asked too.",
        Unit = "ms", Min = 1, Max = 60_000)]
    public int HedgeMs { get; init; } = 50;

    /// <summary>Shortest time of a pull after which a replica that has the blocks is asked instead.</summary>
    [Setting("Shortest time of a pull after which it is given up for another replica that says that it has the " +
        "blocks; longer where the fastest of them needs longer.", Unit = "ms", Min = 1, Max = 600_000)]
    public int PullSwitchMs { get; init; } = 1_000;

    /// <summary>How many times slower than the fastest replica a slow one is.</summary>
    [Setting("How many times slower than the fastest replica a slow one is, which is asked last.",
        Min = 1.1, Max = 1000)]
    public double SlowFactor { get; init; } = 4;

    /// <summary>Time of an answer that is never slow.</summary>
    [Setting("Time of a store node's answer that never counts as slow.", Unit = "ms", Min = 0, Max = 60_000)]
    public int SlowMsMin { get; init; } = 20;

    /// <summary>Loads from other processes at once; what one more would load is computed.</summary>
    [Setting("Loads from other processes at once; what one more would load is computed instead.",
        Unit = "loads", Min = 1, Max = 1024)]
    public int LoadsMax { get; init; } = 16;

    /// <summary>Bytes asked for in one pull; a long prefix comes in several, one after the other.</summary>
    [Setting("Bytes asked for in one pull; a long prefix comes in several, one after the other.",
        Unit = "bytes", Min = 64 << 10, Max = 1 << 30)]
    public int PullBytesMax { get; init; } = 64 << 20;

    /// <summary>
    /// Longest time of one pull; what has not come by then is computed. A worker that is asked looks for the blocks
    /// between two steps of its engine, so that this is longer than a step.
    /// </summary>
    [Setting("Longest time of one pull; what has not come by then is computed.", Unit = "ms", Min = 10, Max = 600_000)]
    public int PullTimeoutMs { get; init; } = 10_000;

    /// <summary>Blocks of which it is remembered who has them.</summary>
    [Setting("Blocks of which it is remembered which process has them.", Unit = "blocks", Min = 1, Max = 16_777_216)]
    public int HintedBlocksMax { get; init; } = 65_536;

    /// <summary>How long that is believed.</summary>
    [Setting("How long it is believed that another process has a block.", Unit = "ms", Min = 1, Max = 3_600_000)]
    public int HintLifetimeMs { get; init; } = 60_000;

    /// <summary>Puts to store nodes at once; further saves wait in the engine's queue.</summary>
    [Setting("Puts to store nodes at once; further saves wait in the engine's queue.",
        Unit = "puts", Min = 1, Max = 1024)]
    public int PutsMax { get; init; } = 8;

    /// <summary>Longest time of one put; then it counts as failed.</summary>
    [Setting("Longest time of one put to a store node; then it counts as failed.",
        Unit = "ms", Min = 10, Max = 600_000)]
    public int PutTimeoutMs { get; init; } = 5_000;

    /// <summary>Calls at once that have store nodes keep blocks longer; one more is dropped.</summary>
    [Setting("Calls at once that have store nodes keep blocks longer; one more is dropped.",
        Unit = "calls", Min = 1, Max = 1024)]
    public int RetainsMax { get; init; } = 16;

    /// <summary>Failures in a row after which a process is left alone for a while.</summary>
    [Setting("Failures in a row after which a process is not asked for blocks for a while.",
        Unit = "failures", Min = 1, Max = 1000)]
    public int BreakerFailuresMax { get; init; } = 2;

    /// <summary>How long it is left alone.</summary>
    [Setting("How long it is not asked then.", Unit = "ms", Min = 1, Max = 3_600_000)]
    public int BreakerPauseMs { get; init; } = 5_000;

    /// <summary>How long a measured transfer rate is believed.</summary>
    [Setting("How long a measured transfer rate is believed.", Unit = "ms", Min = 1, Max = 3_600_000)]
    public int RateLifetimeMs { get; init; } = 60_000;

    /// <summary>Other processes that something is remembered of.</summary>
    [Setting("Other processes whose failures and rates are remembered.", Unit = "processes", Min = 1, Max = 65_536)]
    public int PeersMax { get; init; } = 1024;
}
