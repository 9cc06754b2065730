using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster;

/// <summary>How a gateway watches the cluster, and how long it waits for a worker.</summary>
public sealed record RemoteWorkerOptions
{
    /// <summary>Time between two questions for the status of the nodes.</summary>
    [Setting("Time between two questions of a gateway for the nodes' status.", Unit = "ms", Min = 10, Max = 60_000)]
    public int StatusIntervalMs { get; init; } = 250;

    /// <summary>Longest time for the answer.</summary>
    [Setting("Longest time for the answer of a node or conductor.", Unit = "ms", Min = 10, Max = 600_000)]
    public int StatusTimeoutMs { get; init; } = 5000;

    /// <summary>Longest time that one generation may take in all.</summary>
    [Setting("Longest time that one generation may take in all.", Unit = "s", Min = 1, Max = 604_800)]
    public int GenerationSecondsMax { get; init; } = 86_400;
}
