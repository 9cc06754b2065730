using Grpc.Core;
using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Transfer;
using Kimi.Mooncake.Worker.Peers;

namespace Kimi.Mooncake.Worker;

/// <summary>A worker's way to the others of its cluster; owned by the caller, and outlives the worker.</summary>
/// <param name="Transfer">Moves blocks between processes.</param>
/// <param name="Invokers">Makes calls to a process, named by its address such as <c>http://127.0.0.1:9091</c>.</param>
/// <param name="HandOver">Bounds of hand-overs.</param>
/// <param name="Blocks">Bounds of getting blocks from others and giving them to store nodes.</param>
public sealed record WorkerPeers(
    TransferEngine Transfer, Func<string, CallInvoker> Invokers, HandOverOptions HandOver, PeerBlocksOptions Blocks)
{
    /// <summary>Name of this machine; empty: no other process is on it.</summary>
    public string Host { get; init; } = "";

    /// <summary>How many store nodes keep a block.</summary>
    public ReplicaOptions Replicas { get; init; } = new();
}
