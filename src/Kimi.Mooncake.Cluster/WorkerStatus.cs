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
}

/// <summary>One measured quantity.</summary>
/// <param name="Name">Prometheus name without prefix, such as <c>prompt_tokens_total</c>.</param>
/// <param name="IsCounter">True for a counter, false for a gauge.</param>
/// <param name="Help">One sentence.</param>
/// <param name="Value">The value.</param>
public readonly record struct Metric(string Name, bool IsCounter, string Help, double Value);
