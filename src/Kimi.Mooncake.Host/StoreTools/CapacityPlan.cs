using System.Text.Json.Serialization;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.KvCache.Retention;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>Hit rates of a trace by capacity and policy, as <c>mooncake store plan</c> prints them.</summary>
internal sealed record CapacityPlan
{
    public required string Trace { get; init; }

    public required int Requests { get; init; }

    public required int BlockTokens { get; init; }

    /// <summary>Blocks of all prompts.</summary>
    public required long Blocks { get; init; }

    /// <summary>Blocks that differ: what a store without limit holds in the end.</summary>
    public required long UniqueBlocks { get; init; }

    /// <summary>Bytes of a block; null where no size of a token was given.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public required long? BlockBytes { get; init; }

    public required HitRate Unlimited { get; init; }

    /// <summary>By capacity, then by policy.</summary>
    public required IReadOnlyList<HitRate> Rates { get; init; }

    /// <summary>Replays a trace at each capacity with each policy.</summary>
    /// <exception cref="CommandException">The trace is not what it should be.</exception>
    public static CapacityPlan Make(
        string path,
        int blockTokens,
        long? blockBytes,
        IReadOnlyList<int> capacities,
        IReadOnlyList<EvictionPolicyKind> policies,
        Terminal terminal,
        CancellationToken cancellationToken)
    {
        var requests = TraceFile.Read(path, blockTokens);
        var replay = new TraceReplay(requests, blockTokens);
        var unlimited = replay.Run(policy: null, capacityBlocks: null, cancellationToken);
        var rates = new List<HitRate>();
        foreach (var capacity in capacities)
        {
            foreach (var policy in policies)
            {
                if (terminal.IsInteractive)
                {
                    terminal.Redraw($"replay {rates.Count + 1} of {capacities.Count * policies.Count}");
                }

                rates.Add(replay.Run(policy, capacity, cancellationToken));
            }
        }

        if (terminal.IsInteractive)
        {
            terminal.Redraw("");
        }

        return new CapacityPlan
        {
            Trace = path,
            Requests = requests.Count,
            BlockTokens = blockTokens,
            Blocks = requests.Sum(static request => (long)request.Blocks.Count),
            UniqueBlocks = requests.SelectMany(static request => request.Blocks).Distinct().LongCount(),
            BlockBytes = blockBytes,
            Unlimited = unlimited,
            Rates = rates,
        };
    }
}
