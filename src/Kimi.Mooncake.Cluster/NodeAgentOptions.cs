using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster;

/// <summary>How a node keeps its membership.</summary>
public sealed record NodeAgentOptions
{
    /// <summary>Wait before a lost conductor is called again; doubles with each try.</summary>
    [Setting("Wait before a lost conductor is called again; doubles with each try.",
        Unit = "ms", Min = 1, Max = 60_000)]
    public int ReconnectDelayMs { get; init; } = 50;

    /// <summary>Longest wait before a lost conductor is called again.</summary>
    [Setting("Longest wait before a lost conductor is called again.", Unit = "ms", Min = 1, Max = 600_000)]
    public int ReconnectDelayMaxMs { get; init; } = 500;

    /// <summary>Wait before a node that was refused asks again.</summary>
    [Setting("Wait before a node that the conductor refused asks again.", Unit = "ms", Min = 1, Max = 3_600_000)]
    public int RefusedRetryMs { get; init; } = 5000;

    /// <summary>Longest time for the answer to a registration.</summary>
    [Setting("Longest time for the conductor's answer to a registration.", Unit = "ms", Min = 10, Max = 600_000)]
    public int RegisterTimeoutMs { get; init; } = 5000;

    /// <summary>Longest time that a stopping node waits for the conductor to take its leave.</summary>
    [Setting("Longest time that a stopping node waits for the conductor to take its leave.",
        Unit = "ms", Min = 0, Max = 60_000)]
    public int LeaveTimeoutMs { get; init; } = 1000;

    /// <summary>Orders of the conductor to copy blocks that are being done at once; one more fails.</summary>
    [Setting("Orders of the conductor to copy blocks that a store node does at once; one more fails.",
        Unit = "orders", Min = 1, Max = 1024)]
    public int ReplicaTasksMax { get; init; } = 16;
}
