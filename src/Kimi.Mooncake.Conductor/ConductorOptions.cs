using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

/// <summary>Bounds and weights of the conductor.</summary>
public sealed record ConductorOptions
{
    /// <summary>Time between two loads of a node; told to it when it registers.</summary>
    [Setting("Time between two load reports of a node.", Unit = "ms", Min = 10, Max = 60_000)]
    public int LoadIntervalMs { get; init; } = 500;

    /// <summary>Silence after which a node gets no work, and its requests are told that it is lost.</summary>
    [Setting("Silence after which a node counts as lost for its requests and gets no new ones.",
        Unit = "ms", Min = 50, Max = 600_000)]
    public int SuspectAfterMs { get; init; } = 4_000;

    /// <summary>Silence after which a node is forgotten.</summary>
    [Setting("Silence after which a node is forgotten, with its place in the prefix index.",
        Unit = "ms", Min = 50, Max = 3_600_000)]
    public int ExpireAfterMs { get; init; } = 30_000;

    /// <summary>Nodes that may be registered at once.</summary>
    [Setting("Nodes that may be registered at once.", Unit = "nodes", Min = 1, Max = 4095)]
    public int NodesMax { get; init; } = 1024;

    /// <summary>Keys in the prefix index, over all nodes; further ones are left out, and counted.</summary>
    [Setting("Block keys in the prefix index (60 to 100 bytes each); further ones are left out and counted.",
        Unit = "keys", Min = 1, Max = 500_000_000)]
    public int IndexKeysMax { get; init; } = 20_000_000;

    /// <summary>Requests that may wait for workers; one more is refused.</summary>
    [Setting("Requests that may wait for workers; one more is refused.", Unit = "requests", Min = 1, Max = 1_048_576)]
    public int QueueRequestsMax { get; init; } = 1024;

    /// <summary>Requests that may have workers at once; further ones wait.</summary>
    [Setting("Requests that may have workers at once; further ones wait.",
        Unit = "requests", Min = 1, Max = 16_777_216)]
    public int RoutedRequestsMax { get; init; } = 65_536;

    /// <summary>Longest wait for workers.</summary>
    [Setting("Longest wait of a request for workers; then it is refused.", Unit = "ms", Min = 1, Max = 3_600_000)]
    public int QueueTimeoutMs { get; init; } = 30_000;

    /// <summary>
    /// How long a request waits for a worker to come when none is there that could serve it: restarts happen.
    /// </summary>
    [Setting("How long a request waits for a worker to come when none is there.", Unit = "ms", Min = 0, Max = 600_000)]
    public int NoWorkerGraceMs { get; init; } = 10_000;

    /// <summary>
    /// Wait of a tenant's first request after which no other tenant's request passes it; before, a request that finds
    /// room may go ahead of a larger one that does not.
    /// </summary>
    [Setting("Wait after which a request that finds no room is not passed by those of other tenants.",
        Unit = "ms", Min = 0, Max = 600_000)]
    public int PassingMs { get; init; } = 2_000;

    /// <summary>Shortest advice when to try again.</summary>
    [Setting("Shortest Retry-After of a refusal.", Unit = "ms", Min = 1, Max = 600_000)]
    public int RetryAfterMsMin { get; init; } = 1_000;

    /// <summary>Longest advice when to try again.</summary>
    [Setting("Longest Retry-After of a refusal.", Unit = "ms", Min = 1, Max = 3_600_000)]
    public int RetryAfterMsMax { get; init; } = 60_000;

    /// <summary>
    /// Time that a routed request takes at most to show in a load of its nodes; loads that come sooner lack it, and it
    /// is added to them.
    /// </summary>
    [Setting("Time after which a routed request shows in the load reports of its nodes.",
        Unit = "ms", Min = 0, Max = 60_000)]
    public int LoadDelayMs { get; init; } = 250;

    /// <summary>Decode workers that are weighed against all prefill workers: those with the least load.</summary>
    [Setting("Decode workers that are weighed against all prefill workers for one request.",
        Unit = "nodes", Min = 1, Max = 4095)]
    public int DecodeCandidatesMax { get; init; } = 16;

    /// <summary>Longest prefill on a decode worker without the prefill role, while a prefill worker is there.</summary>
    [Setting("Longest prefill on a decode worker while a prefill worker is there.",
        Unit = "seconds", Min = 0, Max = 60)]
    public double LocalPrefillSecondsMax { get; init; } = 0.25;

    /// <summary>
    /// What a second of prefill on a decode worker costs for each request running there, which it delays, against a
    /// second of the new request's own wait.
    /// </summary>
    [Setting("Weight of the delay that prefill on a decode worker means for each request running there.",
        Min = 0, Max = 100)]
    public double InterferenceWeight { get; init; } = 0.25;

    /// <summary>Wait for the first token that is accepted for an empty decode worker instead of a full one.</summary>
    [Setting("Wait for the first token that is accepted for an empty decode worker instead of a full one.",
        Unit = "seconds", Min = 0, Max = 600)]
    public double DecodeLoadSeconds { get; init; } = 1;

    /// <summary>Time of a decode step at which a decode worker counts as full.</summary>
    [Setting("Time between tokens at which a decode worker counts as full.", Unit = "seconds", Min = 0.0001, Max = 60)]
    public double DecodeStepSecondsFull { get; init; } = 0.2;

    /// <summary>Time that handing over, or pulling from another node, takes apart from the bytes.</summary>
    [Setting("Time that a hand-over between two nodes takes apart from the bytes.",
        Unit = "seconds", Min = 0, Max = 60)]
    public double HandOverSeconds { get; init; } = 0.005;

    /// <summary>Transfer rate to a node that has not measured any.</summary>
    [Setting("Bytes per second to a node that has not measured any.", Unit = "bytes/s", Min = 1, Max = 1e15)]
    public double TransferBytesPerSecondDefault { get; init; } = 300e6;

    /// <summary>Prefill time of a token on a node that has not measured any.</summary>
    [Setting("Prefill time of a token on a node that has not measured any.", Unit = "seconds", Min = 1e-9, Max = 60)]
    public double PrefillTokenSecondsDefault { get; init; } = 0.0005;

    /// <summary>
    /// Tokens that another request is computing from which on a request goes where they are computed; also, fewer do
    /// when they are at least half of what it lacks.
    /// </summary>
    [Setting("Tokens being computed for another request that make a request go to the same worker.",
        Unit = "tokens", Min = 1, Max = 16_777_216)]
    public int SingleFlightTokensMin { get; init; } = 1024;
}
