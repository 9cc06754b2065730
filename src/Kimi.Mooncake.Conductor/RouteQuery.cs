using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

/// <summary>A request that wants workers.</summary>
public sealed record RouteQuery
{
    /// <summary>Name of the request in logs.</summary>
    public required string RequestId { get; init; }

    /// <summary>For fairness between tenants; empty is one of them.</summary>
    public string Tenant { get; init; } = "";

    /// <summary>Tokens of the prompt; at least 1.</summary>
    public required int PromptTokens { get; init; }

    /// <summary>Most tokens of prompt and output together; at least <see cref="PromptTokens"/>.</summary>
    public required int SequenceTokensMax { get; init; }

    /// <summary>Keys of the prompt's full blocks, in order; the memory may not change while the ticket lives.</summary>
    public ReadOnlyMemory<BlockKey> BlockKeys { get; init; }

    /// <summary>Leading blocks that belong to a context; no more than there are keys.</summary>
    public int ContextBlocks { get; init; }

    /// <summary>Names of nodes that failed this request already; they get no part in it.</summary>
    public IReadOnlyList<string> ExcludedNodes { get; init; } = [];
}

/// <summary>The workers of a request.</summary>
/// <param name="Decode">Worker that generates the tokens; the request goes there.</param>
/// <param name="Prefill">Worker that computes the prompt; null when the one that decodes does.</param>
/// <param name="Source">
/// Node from which the worker that prefills may pull cached blocks that it lacks; null when that is not worth it.
/// </param>
/// <param name="SourceBlocks">Leading blocks of the prompt that the source has.</param>
/// <param name="TtftSeconds">Estimated time to the first token.</param>
/// <param name="Degraded">No worker with the fitting role is there; another one stands in.</param>
public sealed record WorkerPair(
    NodeAddress Decode,
    NodeAddress? Prefill,
    NodeAddress? Source,
    int SourceBlocks,
    double TtftSeconds,
    bool Degraded);

/// <summary>Why a request gets no workers.</summary>
public enum RouteRefusalReason
{
    /// <summary>As many requests wait as may.</summary>
    QueueFull,

    /// <summary>Waited as long as may be.</summary>
    QueueTimeout,

    /// <summary>No worker is there that could serve it.</summary>
    NoWorker,

    /// <summary>No worker's pool can ever hold it.</summary>
    TooLong,
}

/// <summary>A request is refused before any work.</summary>
/// <param name="Reason">Why.</param>
/// <param name="RetryAfter">When to try again; zero when that is of no use.</param>
/// <param name="Value">What was asked for: requests waiting, milliseconds, or tokens.</param>
/// <param name="ValueMax">Its limit.</param>
/// <param name="Message">For people.</param>
public sealed record RouteRefusal(
    RouteRefusalReason Reason, TimeSpan RetryAfter, int Value, int ValueMax, string Message);
