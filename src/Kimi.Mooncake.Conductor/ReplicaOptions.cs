using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

/// <summary>How many store nodes keep a block, and how missing replicas are made.</summary>
public sealed record ReplicaOptions
{
    /// <summary>Most replicas of a block.</summary>
    public const int ReplicasMax = 8;

    /// <summary>Store nodes that keep a prompt's block.</summary>
    [Setting("Store nodes that keep a prompt's block.", Unit = "nodes", Min = 1, Max = ReplicasMax)]
    public int PromptReplicas { get; init; } = 1;

    /// <summary>Store nodes that keep a block of a context.</summary>
    [Setting("Store nodes that keep a block of a context that was created by name or marked to be kept.",
        Unit = "nodes", Min = 1, Max = ReplicasMax)]
    public int ContextReplicas { get; init; } = 2;

    /// <summary>Store nodes that keep a hot block.</summary>
    [Setting("Store nodes that keep a block that many requests use.", Unit = "nodes", Min = 1, Max = ReplicasMax)]
    public int HotReplicas { get; init; } = 2;

    /// <summary>Requests per second from which on a block is hot.</summary>
    [Setting("Requests per second from which on a block is hot.", Unit = "requests/s", Min = 0.001, Max = 1e6)]
    public double HotRequestsPerSecond { get; init; } = 0.8;

    /// <summary>Time over which requests are counted; older ones fade.</summary>
    [Setting("Time over which the requests of a block are counted; older ones fade.",
        Unit = "seconds", Min = 1, Max = 86_400)]
    public double HotWindowSeconds { get; init; } = 10;

    /// <summary>Placement groups whose requests are counted; those unused for longest are forgotten.</summary>
    [Setting("Placement groups whose requests the conductor counts; those unused for longest are forgotten.",
        Unit = "groups", Min = 1, Max = 16_777_216)]
    public int TrackedGroupsMax { get; init; } = 65_536;

    /// <summary>Placement groups of contexts that are remembered; those unused for longest are forgotten.</summary>
    [Setting("Placement groups of contexts that the conductor remembers; those unused for longest are forgotten.",
        Unit = "groups", Min = 1, Max = 16_777_216)]
    public int ContextGroupsMax { get; init; } = 65_536;

    /// <summary>Keys of one group whose requests are counted; prompts may part within a group.</summary>
    [Setting("Keys of one placement group whose requests are counted; further ones are not replicated.",
        Unit = "keys", Min = 64, Max = 65_536)]
    public int GroupKeysMax { get; init; } = 256;

    /// <summary>Time without a use after which keys of contexts make room for others of a full group.</summary>
    [Setting("Time without a use after which keys of contexts make room for others of a placement group that is full.",
        Unit = "seconds", Min = 1, Max = 2_592_000)]
    public double ContextKeysSeconds { get; init; } = 600;

    /// <summary>Orders to make replicas that are being done at once.</summary>
    [Setting("Orders to copy blocks to another store node that are being done at once.",
        Unit = "orders", Min = 1, Max = 4096)]
    public int OrdersMax { get; init; } = 16;

    /// <summary>Orders that one node sends or receives for at once.</summary>
    [Setting("Of these, orders that one store node sends, or receives, at once.",
        Unit = "orders", Min = 1, Max = 32)]
    public int OrdersPerNodeMax { get; init; } = 4;

    /// <summary>Time after which an order that nobody reports on counts as failed.</summary>
    [Setting("Time after which an order that the store node does not report on counts as failed.",
        Unit = "ms", Min = 100, Max = 3_600_000)]
    public int OrderTimeoutMs { get; init; } = 30_000;

    /// <summary>Wait before the same blocks are ordered to the same node again; doubles with each try.</summary>
    [Setting("Wait before the same blocks are ordered to the same store node again; doubles with each try.",
        Unit = "ms", Min = 10, Max = 600_000)]
    public int OrderRetryMs { get; init; } = 1_000;

    /// <summary>Most waits in a row that double.</summary>
    internal const int RetryDoublingsMax = 6;

    /// <summary>Groups looked at in one step; bounds the time of a call.</summary>
    internal const int GroupsPerStepMax = 256;
}
