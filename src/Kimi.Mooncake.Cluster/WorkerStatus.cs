using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster;

/// <summary>
/// Load and counters of a worker at one moment. Counters only grow. Free, cached and held blocks add up to the total.
/// </summary>
public sealed record WorkerStatus
{
    /// <summary>Whether new requests are accepted.</summary>
    public required bool Ready { get; init; }

    /// <summary>Why it is not ready; empty when it is.</summary>
    public string NotReadyReason { get; init; } = "";

    /// <summary>Requests that wait for admission.</summary>
    public required int Waiting { get; init; }

    /// <summary>Requests that are being prefilled or decoded.</summary>
    public required int Running { get; init; }

    /// <summary>Blocks in the pool.</summary>
    public required int BlocksTotal { get; init; }

    /// <summary>Blocks that hold nothing.</summary>
    public required int BlocksFree { get; init; }

    /// <summary>Blocks that hold a cached prefix nobody uses at the moment.</summary>
    public required int BlocksCached { get; init; }

    /// <summary>Blocks that a request, a load or a save holds.</summary>
    public required int BlocksHeld { get; init; }

    /// <summary>Counters and gauges under their Prometheus names, without the <c>mooncake_</c> prefix.</summary>
    public required IReadOnlyList<Metric> Metrics { get; init; }

    /// <summary>The nodes behind the figures; null for a worker that is not in a cluster.</summary>
    public ClusterStatus? Cluster { get; init; }
}

/// <summary>A cluster at one moment.</summary>
public sealed record ClusterStatus
{
    /// <summary>Which role has no worker of its own, so that others stand in; empty when each has.</summary>
    public required string DegradedReason { get; init; }

    /// <summary>Requests that wait for the conductor's decision.</summary>
    public required int Waiting { get; init; }

    /// <summary>Requests that have workers and have not ended.</summary>
    public required int Routed { get; init; }

    /// <summary>Registered nodes.</summary>
    public required IReadOnlyList<NodeStatus> Nodes { get; init; }
}

/// <summary>A node of a cluster at one moment.</summary>
public sealed record NodeStatus
{
    /// <summary>Name of the node.</summary>
    public required string NodeId { get; init; }

    /// <summary>What it does.</summary>
    public required NodeRoles Roles { get; init; }

    /// <summary>Where it is reached.</summary>
    public required string Address { get; init; }

    /// <summary><c>ready</c>, <c>draining</c> or <c>suspect</c>.</summary>
    public required string Health { get; init; }

    /// <summary>Why it gets no work; empty when it does.</summary>
    public required string HealthReason { get; init; }

    /// <summary>Requests that wait for admission there.</summary>
    public required int Waiting { get; init; }

    /// <summary>Requests that are being prefilled or decoded there.</summary>
    public required int Running { get; init; }

    /// <summary>Requests that the conductor sent there and that have not ended.</summary>
    public required int Routed { get; init; }

    /// <summary>Blocks in its pool.</summary>
    public required int BlocksTotal { get; init; }

    /// <summary>Blocks that hold nothing.</summary>
    public required int BlocksFree { get; init; }

    /// <summary>Blocks that hold a cached prefix nobody uses at the moment.</summary>
    public required int BlocksCached { get; init; }

    /// <summary>Blocks that a request or a transfer holds.</summary>
    public required int BlocksHeld { get; init; }

    /// <summary>Keys of its pool that the conductor knows of.</summary>
    public required long IndexedBlocks { get; init; }

    /// <summary>Its own counters and gauges, as last asked; empty when it has not answered yet.</summary>
    public required IReadOnlyList<Metric> Metrics { get; init; }
}

/// <summary>One measured quantity.</summary>
/// <param name="Name">Prometheus name without prefix, such as <c>prompt_tokens_total</c>.</param>
/// <param name="IsCounter">True for a counter, false for a gauge.</param>
/// <param name="Help">One sentence.</param>
/// <param name="Value">The value.</param>
/// <param name="Labels">
/// What tells it from others of the same name, such as <c>reason="draining"</c>; metrics of one name stand together.
/// </param>
public readonly record struct Metric(string Name, bool IsCounter, string Help, double Value, string Labels = "");
