using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster;

/// <summary>The worker that a gateway uses, and how long it waits for it.</summary>
public sealed record RemoteWorkerOptions
{
    /// <summary>Address of the worker.</summary>
    [Setting("Address of the worker that a gateway uses.")]
    public string Address { get; init; } = "http://127.0.0.1:9090";

    /// <summary>How long a starting gateway waits for its worker.</summary>
    [Setting("How long a starting gateway waits for its worker.", Unit = "ms", Min = 0, Max = 3_600_000)]
    public int StartTimeoutMs { get; init; } = 30_000;

    /// <summary>Time between two questions for the worker's status.</summary>
    [Setting("Time between two questions for the worker's status.", Unit = "ms", Min = 10, Max = 60_000)]
    public int StatusIntervalMs { get; init; } = 250;

    /// <summary>Longest time for the answer; a worker that needs longer counts as unreachable.</summary>
    [Setting("Longest time for the answer; a worker that needs longer counts as unreachable.",
        Unit = "ms", Min = 10, Max = 600_000)]
    public int StatusTimeoutMs { get; init; } = 5000;

    /// <summary>Longest time that one generation may take in all.</summary>
    [Setting("Longest time that one generation may take in all.", Unit = "s", Min = 1, Max = 604_800)]
    public int GenerationSecondsMax { get; init; } = 86_400;
}
