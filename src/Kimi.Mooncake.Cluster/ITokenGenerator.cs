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
    IAsyncEnumerable<GenerationEvent> GenerateAsync(GenerationRequest request, CancellationToken cancellationToken);

    /// <summary>A consistent picture of load and counters, for <c>/health</c> and <c>/metrics</c>.</summary>
    WorkerStatus Status();
}

/// <summary>Thrown when the waiting queue is full; the caller may retry later.</summary>
/// <param name="waiting">Requests waiting.</param>
/// <param name="waitingMax">The limit.</param>
public sealed class QueueFullException(int waiting, int waitingMax)
    : Exception($"{waiting} requests are waiting, the limit is {waitingMax}");

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
