using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Host.Output;

/// <summary>The nodes that a conductor knows, and what waits for them.</summary>
/// <param name="Waiting">Requests that wait to be routed.</param>
/// <param name="Routed">Requests routed that have not ended.</param>
/// <param name="Nodes">By name.</param>
internal sealed record NodesReport(uint Waiting, uint Routed, IReadOnlyList<NodeReport> Nodes)
{
    public static NodesReport Of(Wire.ListNodesResponse response) => new(
        response.Waiting,
        response.Routed,
        [.. response.Nodes.Select(NodeReport.Of).OrderBy(node => node.Node, StringComparer.Ordinal)]);
}

/// <summary>One node and its load.</summary>
internal sealed record NodeReport
{
    // The chunk for which the measured cost is told as a rate.
    private const double RateTokens = 2048;

    public required string Node { get; init; }

    public required string Role { get; init; }

    public required string Address { get; init; }

    /// <summary><c>ready</c>, <c>draining</c> or <c>suspect</c>.</summary>
    public required string Health { get; init; }

    public required string NotReadyReason { get; init; }

    public required uint Running { get; init; }

    public required uint Waiting { get; init; }

    /// <summary>Requests routed to it that have not ended.</summary>
    public required uint Routed { get; init; }

    public required uint BlocksTotal { get; init; }

    public required uint BlocksHeld { get; init; }

    public required uint BlocksCached { get; init; }

    /// <summary>Keys that the conductor knows of its pool, or of a store node's store.</summary>
    public required ulong IndexedBlocks { get; init; }

    public required ulong QueuedPrefillTokens { get; init; }

    /// <summary>Rate of computing the first 2,048 tokens of a prompt, by the measured cost; 0 when unknown.</summary>
    public required double PrefillTokensPerS { get; init; }

    public required double DecodeStepMs { get; init; }

    /// <summary>Time since its last message.</summary>
    public required ulong SilentMs { get; init; }

    public static NodeReport Of(Wire.NodeState node)
    {
        var (about, load) = (node.Registration ?? new(), node.Load ?? new());
        return new NodeReport
        {
            Node = about.NodeId,
            Role = string.Join(',', about.Roles.Select(role => role.ToString().ToLowerInvariant())),
            Address = about.Address,
            Health = node.Health.ToString().ToLowerInvariant(),
            NotReadyReason = load.NotReadyReason,
            Running = load.Running,
            Waiting = load.Waiting,
            Routed = node.Routed,
            BlocksTotal = about.BlocksTotal,
            BlocksHeld = load.BlocksHeld,
            BlocksCached = load.BlocksCached,
            IndexedBlocks = node.IndexedBlocks,
            QueuedPrefillTokens = load.QueuedPrefillTokens,
            PrefillTokensPerS = Rate(load.PrefillCost),
            DecodeStepMs = load.DecodeStepSeconds * 1000,
            SilentMs = node.SilentMs,
        };
    }

    private static double Rate(Wire.PrefillCost? cost)
    {
        if (cost is null || cost.Samples == 0)
        {
            return 0;
        }

        var seconds = cost.FixedSeconds + (cost.TokenSeconds * RateTokens)
            + (cost.PairSeconds * RateTokens * RateTokens / 2);
        return seconds > 0 ? RateTokens / seconds : 0;
    }
}
