using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Kernels;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>What a worker's way to blocks of other processes works with.</summary>
/// <param name="Memory">The worker's pool.</param>
/// <param name="Fingerprint">Names its model.</param>
/// <param name="Client">Calls to other processes.</param>
/// <param name="OwnAddress">Where this process takes frames; empty as long as it does not listen.</param>
/// <param name="Options">Limits.</param>
/// <param name="Traffic">What is counted.</param>
/// <param name="Time">Clock.</param>
/// <param name="Logger">Takes what an operator should know.</param>
internal sealed record PeerParts(
    PagedKvMemory Memory,
    string Fingerprint,
    PeerBlockClient Client,
    Func<string> OwnAddress,
    PeerBlocksOptions Options,
    BlockTraffic Traffic,
    TimeProvider Time,
    ILogger Logger)
{
    /// <summary>Name of this machine; empty: no other process is on it.</summary>
    public string Host { get; init; } = "";

    /// <summary>How many store nodes keep a block.</summary>
    public ReplicaOptions Replicas { get; init; } = new();

    /// <summary>Store nodes that may have a block.</summary>
    public int ReadReplicas =>
        Math.Max(Replicas.PromptReplicas, Math.Max(Replicas.ContextReplicas, Replicas.HotReplicas));
}
