using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster;

/// <summary>
/// The cluster-engine port that the gateway sees: someone who continues prompts. In one process it is the worker
/// itself; between processes, a client of one.
/// </summary>
public interface ITokenGenerator
{
    /// <summary>The model that is served.</summary>
    ModelCard Model { get; }

    /// <summary>
    /// Continues a prompt. The events come in the order that <see cref="GenerationEvent"/> states; cancelling the token
    /// ends the generation and releases all its blocks, and the stream then throws
    /// <see cref="OperationCanceledException"/>.
    /// </summary>
    /// <param name="request">What to continue.</param>
    /// <param name="cancellationToken">Ends the generation.</param>
    /// <exception cref="QueueFullException">The waiting queue is at its limit; nothing was done.</exception>
    /// <exception cref="PromptTooLongException">The prompt can never fit this worker's memory.</exception>
    /// <exception cref="ArgumentException">The request is not one that the worker can take.</exception>
    /// <exception cref="WorkerUnavailableException">The worker cannot be reached, or was lost on the way.</exception>
    IAsyncEnumerable<GenerationEvent> GenerateAsync(GenerationRequest request, CancellationToken cancellationToken);

    /// <summary>A consistent picture of load and counters, for <c>/health</c> and <c>/metrics</c>.</summary>
    WorkerStatus Status();
}

/// <summary>Thrown when the waiting queue is full; the caller may retry later.</summary>
/// <param name="waiting">Requests waiting.</param>
/// <param name="waitingMax">The limit.</param>
public sealed class QueueFullException(int waiting, int waitingMax)
    : Exception($"{waiting} requests are waiting, the limit is {waitingMax}")
{
    /// <summary>Requests waiting.</summary>
    public int Waiting { get; } = waiting;

    /// <summary>The limit.</summary>
    public int WaitingMax { get; } = waitingMax;
}

/// <summary>Thrown when a prompt needs more KV blocks than the worker has in all.</summary>
/// <param name="tokens">Tokens of prompt and reserved output.</param>
/// <param name="tokensMax">Tokens that the pool can hold.</param>
public sealed class PromptTooLongException(int tokens, int tokensMax)
    : Exception($"the request needs room for {tokens} tokens, the KV pool holds {tokensMax}")
{
    /// <summary>Tokens of prompt and reserved output.</summary>
    public int Tokens { get; } = tokens;

    /// <summary>Tokens that the pool can hold.</summary>
    public int TokensMax { get; } = tokensMax;
}

/// <summary>
/// Thrown when the worker cannot be reached, was lost during a generation, or answers what it may not.
/// </summary>
/// <param name="message">Which worker, and what happened.</param>
/// <param name="cause">What was thrown; null where nothing was.</param>
public sealed class WorkerUnavailableException(string message, Exception? cause = null) : Exception(message, cause);
