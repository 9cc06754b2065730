using System.Runtime.CompilerServices;
using Grpc.Core;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Protocol;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster;

/// <summary>
/// Workers in other processes. What they send is checked: a token that is none, an event out of its order, or a stream
/// without an end is a fault of the worker, and reaches nobody.
/// </summary>
/// <param name="channels">Gives what makes the calls to an address.</param>
/// <param name="time">Clock.</param>
public sealed class WorkerClient(Func<string, CallInvoker> channels, TimeProvider time)
{
    /// <summary>
    /// Continues a prompt on one worker. The events come in the order that <see cref="GenerationEvent"/> states; ending
    /// the enumeration, or cancelling, ends the call.
    /// </summary>
    /// <param name="address">Address of the worker.</param>
    /// <param name="request">What to continue.</param>
    /// <param name="model">The model that the tokens belong to.</param>
    /// <param name="limit">Longest time of the call.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <exception cref="QueueFullException">The worker's queue is at its limit; nothing was done.</exception>
    /// <exception cref="PromptTooLongException">The prompt can never fit the worker's memory.</exception>
    /// <exception cref="PrefillUnavailableException">The worker that was to prefill failed.</exception>
    /// <exception cref="DrainingException">The worker takes no new work; nothing was done.</exception>
    /// <exception cref="ArgumentException">The request is not one that the worker can take.</exception>
    /// <exception cref="WorkerUnavailableException">
    /// The worker cannot be reached, was lost on the way, or sent what it may not.
    /// </exception>
    public async IAsyncEnumerable<GenerationEvent> GenerateAsync(
        string address, GenerationRequest request, ModelCard model, TimeSpan limit,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(model);
        var message = GenerationMessages.ToMessage(request, model.Fingerprint);
        using var call = new Wire.Generation.GenerationClient(InvokerOf(address)).Generate(
            message, deadline: Deadline(limit), cancellationToken: cancellationToken);
        var order = new EventOrder(request);
        while (await NextAsync(call, address, model, order, cancellationToken).ConfigureAwait(false) is { } next)
        {
            if (next is GenerationFinished)
            {
                // The call ends by itself then, and is not taken for one that was given up.
                if (await NextAsync(call, address, model, order, cancellationToken).ConfigureAwait(false) is { } more)
                {
                    throw Fault(address, $"sent {more.GetType().Name} after the end");
                }

                yield return next;
                yield break;
            }

            yield return next;
        }

        throw Fault(address, "ended a stream without saying why");
    }

    /// <summary>Load and counters of a worker.</summary>
    /// <param name="address">Address of the worker.</param>
    /// <param name="limit">Longest time of the call.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="WorkerUnavailableException">It did not answer, or with what it may not.</exception>
    public async Task<WorkerStatus> StatusAsync(string address, TimeSpan limit, CancellationToken cancellationToken)
    {
        try
        {
            return WorkerMessages.ToStatus(await new Wire.Generation.GenerationClient(InvokerOf(address))
                .GetStatusAsync(
                    new Wire.GetStatusRequest(), deadline: Deadline(limit), cancellationToken: cancellationToken)
                .ConfigureAwait(false));
        }
        catch (RpcException) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
        catch (RpcException fault)
        {
            throw Fault(address, $"{fault.StatusCode}, {fault.Status.Detail}", fault);
        }
        catch (InvalidDataException fault)
        {
            throw Fault(address, $"sent what it may not: {fault.Message}", fault);
        }
    }

    private CallInvoker InvokerOf(string address)
    {
        try
        {
            return channels(address);
        }
        catch (ArgumentException fault)
        {
            throw Fault(address, fault.Message, fault);
        }
    }

    private DateTime Deadline(TimeSpan limit) => time.GetUtcNow().UtcDateTime + limit;

    private static async Task<GenerationEvent?> NextAsync(
        AsyncServerStreamingCall<Wire.GenerateEvent> call, string address, ModelCard model, EventOrder order,
        CancellationToken cancellationToken)
    {
        try
        {
            if (!await call.ResponseStream.MoveNext(cancellationToken).ConfigureAwait(false))
            {
                return null;
            }

            var next = GenerationMessages.ToEvent(call.ResponseStream.Current, model.VocabularySize);
            order.Require(next);
            return next;
        }
        catch (RpcException) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
        catch (RpcException fault)
        {
            throw Describe(address, fault);
        }
        catch (InvalidDataException fault)
        {
            throw Fault(address, $"sent what it may not: {fault.Message}", fault);
        }
    }

    private static Exception Describe(string address, RpcException fault)
    {
        try
        {
            return WorkerMessages.ToRefusal(fault) ?? fault.StatusCode switch
            {
                StatusCode.InvalidArgument => new ArgumentException(fault.Status.Detail, fault),
                _ => Fault(address, $"{fault.StatusCode}, {fault.Status.Detail}", fault),
            };
        }
        catch (InvalidDataException bad)
        {
            return Fault(address, $"sent what it may not: {bad.Message}", bad);
        }
    }

    private static WorkerUnavailableException Fault(string address, string what, Exception? cause = null) =>
        new($"worker {address}: {what}", cause);

    /// <summary>The order and number that events may have.</summary>
    private sealed class EventOrder(GenerationRequest request)
    {
        private int _tokensLeft = request.MaxNewTokens - request.GeneratedTokens.Count;
        private bool _prefillFinished;

        public void Require(GenerationEvent next)
        {
            var prompt = request.PromptTokens.Count;
            var wrong = next switch
            {
                PrefillProgressed or PrefillFinished when _prefillFinished => "after the prompt was complete",
                PrefillProgressed p when p.PromptTokens != prompt => $"for a prompt of {p.PromptTokens} tokens",
                PrefillFinished p when p.PromptTokens != prompt => $"for a prompt of {p.PromptTokens} tokens",
                TokenGenerated when !_prefillFinished => "before the prompt was complete",
                TokenGenerated when --_tokensLeft < 0 => $"beyond the limit of {request.MaxNewTokens} tokens",
                _ => null,
            };
            _prefillFinished |= next is PrefillFinished;
            if (wrong is not null)
            {
                throw new InvalidDataException($"{next.GetType().Name} {wrong}");
            }
        }
    }
}
