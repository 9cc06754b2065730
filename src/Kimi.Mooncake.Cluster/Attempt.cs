using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster;

/// <summary>Thrown when a worker failed a request that another one may serve.</summary>
internal sealed class AttemptFailedException(RetryReason reason, string nodeId, Exception cause)
    : Exception(cause.Message, cause)
{
    public RetryReason Reason { get; } = reason;

    /// <summary>Who failed.</summary>
    public string NodeId { get; } = nodeId;

    public Exception Cause { get; } = cause;
}

/// <summary>One try of a request at one pair of workers. It ends as soon as either is known to be lost.</summary>
internal sealed class Attempt : IAsyncDisposable
{
    private readonly IRouteLease _lease;
    private readonly CancellationToken _requests;
    private readonly CancellationTokenSource _ended;
    private readonly IAsyncEnumerator<GenerationEvent> _events;
    private readonly CancellationTokenRegistration _decodeLost;
    private readonly CancellationTokenRegistration _prefillLost;
    private bool _prefillFinished;

    public Attempt(
        IRouteLease lease, WorkerClient workers, GenerationRequest request, ModelCard model, TimeSpan limit,
        CancellationToken cancellationToken)
    {
        _lease = lease;
        _requests = cancellationToken;
        _ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        _events = workers.GenerateAsync(lease.Pair.Decode.Address, request, model, limit, _ended.Token)
            .GetAsyncEnumerator(CancellationToken.None);
        _decodeLost = lease.DecodeLost.Register(_ended.Cancel);
        _prefillLost = lease.PrefillLost.Register(_ended.Cancel);
    }

    /// <summary>The next event, of which none is a failure.</summary>
    /// <exception cref="AttemptFailedException">The request may be tried elsewhere.</exception>
    public async Task<GenerationEvent> NextAsync()
    {
        try
        {
            if (!await _events.MoveNextAsync().ConfigureAwait(false))
            {
                throw new WorkerUnavailableException($"worker {_lease.Pair.Decode.Address}: nothing after the end");
            }

            var next = _events.Current;
            switch (next)
            {
                case PrefillFinished:
                    // From here on everything is at the worker that decodes.
                    _prefillFinished = true;
                    await _prefillLost.DisposeAsync().ConfigureAwait(false);
                    break;
                case GenerationFinished { Reason: FinishReason.Cancelled }:
                    throw new WorkerUnavailableException($"worker {_lease.Pair.Decode.Address} gave up: it stops");
                case GenerationFinished { Reason: FinishReason.Failed } failed:
                    throw new GenerationFailedException(failed.Message);
            }

            return next;
        }
        catch (Exception fault) when (Describe(fault) is { } failed)
        {
            throw failed;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _decodeLost.DisposeAsync().ConfigureAwait(false);
        await _prefillLost.DisposeAsync().ConfigureAwait(false);
        await _ended.CancelAsync().ConfigureAwait(false);
        await _events.DisposeAsync().ConfigureAwait(false);
        await _lease.DisposeAsync().ConfigureAwait(false);
        _ended.Dispose();
    }

    /// <summary>Whose failure it is; null where another worker would not help, or the request was ended.</summary>
    private AttemptFailedException? Describe(Exception fault)
    {
        var (decode, prefill) = (_lease.Pair.Decode.NodeId, _lease.Pair.Prefill?.NodeId);
        return fault switch
        {
            _ when _requests.IsCancellationRequested => null,
            OperationCanceledException => Lost(decode, prefill),
            PrefillUnavailableException => new AttemptFailedException(
                RetryReason.PrefillUnavailable, prefill ?? decode, fault),
            DrainingException => new AttemptFailedException(RetryReason.Draining, decode, fault),
            QueueFullException => new AttemptFailedException(RetryReason.QueueFull, decode, fault),
            GenerationFailedException => new AttemptFailedException(RetryReason.Failed, decode, fault),
            WorkerUnavailableException => new AttemptFailedException(RetryReason.WorkerUnavailable, decode, fault),
            _ => null,
        };
    }

    private AttemptFailedException Lost(string decode, string? prefill)
    {
        var isPrefill = !_lease.DecodeLost.IsCancellationRequested && !_prefillFinished && prefill is not null;
        return new AttemptFailedException(
            RetryReason.NodeLost, isPrefill ? prefill! : decode, new WorkerUnavailableException(_lease.LostReason));
    }
}

/// <summary>A worker ended a generation because it could not go on.</summary>
internal sealed class GenerationFailedException(string? message) : Exception(message ?? "the worker gave no reason");
