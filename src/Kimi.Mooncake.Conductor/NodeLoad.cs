namespace Kimi.Mooncake.Conductor;

/// <summary>A node's load at one moment; it is the heartbeat too.</summary>
public sealed record NodeLoad
{
    /// <summary>Requests that wait for admission.</summary>
    public int Waiting { get; init; }

    /// <summary>Requests that are loaded, prefilled or decoded.</summary>
    public int Running { get; init; }

    /// <summary>Prompt tokens that wait to be computed, over all requests.</summary>
    public long QueuedPrefillTokens { get; init; }

    /// <summary>Blocks of the pool without content.</summary>
    public int BlocksFree { get; init; }

    /// <summary>Blocks of the pool that only the cache holds; they can be evicted.</summary>
    public int BlocksCached { get; init; }

    /// <summary>Blocks of the pool that requests hold.</summary>
    public int BlocksHeld { get; init; }

    /// <summary>What prefill costs here, as measured.</summary>
    public PrefillCost PrefillCost { get; init; }

    /// <summary>Seconds of one decode step, as measured; 0 when it is not known.</summary>
    public double DecodeStepSeconds { get; init; }

    /// <summary>Bytes per second that transfers to this node reached, as measured; 0 when it is not known.</summary>
    public double TransferBytesPerSecond { get; init; }

    /// <summary>The node takes no new work.</summary>
    public bool Draining { get; init; }

    /// <summary>Whether the node can work.</summary>
    public bool Ready { get; init; }

    /// <summary>Why the node cannot work; empty when it can.</summary>
    public string NotReadyReason { get; init; } = "";
}
