using System.Diagnostics;
using Grpc.Core;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Protocol;
using Kimi.Mooncake.Transfer;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Worker;

/// <summary>
/// A prompt that another worker computes into blocks that the engine here has reserved. Ends in exactly one of two
/// ways: the reservation is closed and every byte is there, or it is closed and the engine is told that they are not.
/// Until then the engine keeps the blocks.
/// </summary>
internal sealed class PrefillImport : IAsyncDisposable
{
    private readonly OpenHandOvers _open;
    private readonly EngineLoop _loop;
    private readonly HandOverCounters _counters;
    private readonly TimeProvider _time;
    private readonly ModelCard _model;
    private readonly PrefillOrder _order;
    private readonly long _sequenceId;
    private readonly HandOverOptions _options;
    private readonly Func<string, CallInvoker> _invokers;
    private readonly Reservation _reservation;
    private readonly CancellationTokenSource _queueing;
    private readonly CancellationTokenSource _ending;
    private readonly CancellationToken _caller;
    private readonly Lock _endLock = new();
    private AsyncServerStreamingCall<Wire.PrefillEvent>? _call;
    private Activity? _span;
    private ImportedPrefill? _computed;
    private string _failure = "the request was given up";
    private bool _ended;

    /// <summary>Opens the blocks to the prefill worker.</summary>
    /// <param name="worker">What the import needs of this worker.</param>
    /// <param name="request">The request; its prefill address says who computes.</param>
    /// <param name="sequenceId">Its sequence here.</param>
    /// <param name="blockIds">The blocks of its prompt.</param>
    /// <param name="cachedTokens">Tokens that are here already; their blocks are shared and not opened.</param>
    /// <param name="cancellationToken">Ends the import.</param>
    public PrefillImport(
        ImportParts worker, GenerationRequest request, long sequenceId, ReadOnlySpan<int> blockIds, int cachedTokens,
        CancellationToken cancellationToken)
    {
        _open = worker.Open;
        _loop = worker.Loop;
        _counters = worker.Counters;
        _time = worker.Time;
        _model = worker.Model;
        _invokers = worker.Peers.Invokers;
        _options = worker.Peers.HandOver;
        _sequenceId = sequenceId;
        _caller = cancellationToken;
        _queueing = new CancellationTokenSource(TimeSpan.FromSeconds(_options.QueueSecondsMax), _time);
        _ending = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _queueing.Token);
        var layout = _model.KvLayout;
        var slots = new nint[blockIds.Length];
        for (var i = cachedTokens / layout.BlockTokens; i < slots.Length; i++)
        {
            slots[i] = worker.Memory.Address(blockIds[i], 0, 0);
        }

        _reservation = worker.Peers.Transfer.Reserve(slots, layout.BytesPerBlock);
        _order = new PrefillOrder(request, worker.Address, _reservation.Id, cachedTokens);
    }

    /// <summary>What the prefill of its cached tokens would have taken the other worker.</summary>
    public double SecondsSaved { get; private set; }

    /// <summary>The next progress; null when the prompt is complete and the engine goes on with it.</summary>
    /// <exception cref="PrefillUnavailableException">The prefill worker cannot be reached, or failed.</exception>
    public async ValueTask<PrefillProgressed?> NextAsync()
    {
        try
        {
            _call ??= Call();
            while (await _call.ResponseStream.MoveNext(_ending.Token).ConfigureAwait(false))
            {
                _queueing.CancelAfter(Timeout.InfiniteTimeSpan);
                var message = _call.ResponseStream.Current;
                switch (message.EventCase)
                {
                    case Wire.PrefillEvent.EventOneofCase.Progressed:
                        var progress = PrefillMessages.ToProgress(message.Progressed);
                        if (_order.Request.ReportProgress)
                        {
                            return progress;
                        }

                        break;
                    case Wire.PrefillEvent.EventOneofCase.Computed:
                        _computed = PrefillMessages.ToImport(
                            message.Computed, _order.Request.PromptTokens.Count, _model.VocabularySize);
                        SecondsSaved = PrefillMessages.ToSecondsSaved(message.Computed);
                        break;
                    case Wire.PrefillEvent.EventOneofCase.HandedOver:
                        Complete(message.HandedOver);
                        return null;
                    default:
                        throw new InvalidDataException(
                            "field event: none; expected progressed, computed or handed_over");
                }
            }

            throw new InvalidDataException("the prefill ended without handed_over");
        }
        catch (Exception) when (_queueing.IsCancellationRequested && !_caller.IsCancellationRequested)
        {
            throw Fail(ImportFailure.Deadline, $"it did not begin within {_options.QueueSecondsMax} s");
        }
        catch (Exception) when (_ending.IsCancellationRequested)
        {
            throw new OperationCanceledException(_caller.IsCancellationRequested ? _caller : _ending.Token);
        }
        catch (RpcException fault)
        {
            throw Fail(
                fault.StatusCode == StatusCode.DeadlineExceeded ? ImportFailure.Deadline : ImportFailure.Refused,
                $"{fault.StatusCode}, {fault.Status.Detail}");
        }
        catch (Exception fault) when (fault is InvalidDataException or ArgumentException)
        {
            throw Fail(ImportFailure.Protocol, fault.Message);
        }
    }

    /// <summary>
    /// Closes the blocks to the prefill worker and, where the prompt is not complete, tells the engine. May be called
    /// again, and while <see cref="NextAsync"/> runs.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        _open.Remove(this);
        await _ending.CancelAsync().ConfigureAwait(false);
        _call?.Dispose();
        _span?.Dispose();
        lock (_endLock)
        {
            if (_ended)
            {
                return;
            }

            _ended = true;
            _reservation.Dispose();
            _queueing.Dispose();
        }

        _loop.Post(engine => engine.FailImport(_sequenceId, _failure));
    }

    private AsyncServerStreamingCall<Wire.PrefillEvent> Call()
    {
        _span = RequestTrace.Begin(RequestTrace.Import, ActivityKind.Client);
        _span?.SetTag("address", _order.Request.PrefillAddress);
        return new Wire.Prefill.PrefillClient(_invokers(_order.Request.PrefillAddress)).Prefill(
            PrefillMessages.ToMessage(_order, _model),
            deadline: _time.GetUtcNow().UtcDateTime + TimeSpan.FromSeconds(_options.PrefillSecondsMax),
            cancellationToken: _ending.Token);
    }

    private void Complete(Wire.HandedOver handedOver)
    {
        var prefill = _computed
            ?? throw new InvalidDataException("field event: handed_over; expected computed before it");
        var expected = HandOverSender.BytesOf(
            _model.KvLayout, _order.Request.PromptTokens.Count, _order.FirstPosition);
        lock (_endLock)
        {
            if (_ended)
            {
                throw new OperationCanceledException(_ending.Token);
            }

            if (handedOver.Bytes != (ulong)expected || _reservation.BytesWritten != expected)
            {
                throw new InvalidDataException(
                    $"{_reservation.BytesWritten} bytes have arrived and {handedOver.Bytes} were sent; expected " +
                    $"{expected}");
            }

            _ended = true;
            _reservation.Dispose();
        }

        _span?.SetTag("bytes", expected);
        _span?.Dispose();
        _counters.Imported(new HandOverTimes(
            expected, PrefillMessages.ToTime(handedOver.TailMicroseconds),
            PrefillMessages.ToTime(handedOver.TotalMicroseconds)));
        _loop.Post(engine => engine.CompleteImport(_sequenceId, prefill, _loop.Now));
    }

    private PrefillUnavailableException Fail(ImportFailure failure, string reason)
    {
        _failure = reason;
        _span?.SetStatus(ActivityStatusCode.Error, reason);
        _counters.ImportFailed(failure);
        return new PrefillUnavailableException(_order.Request.PrefillAddress, reason);
    }
}

/// <summary>What imports need of their worker.</summary>
/// <param name="Open">What is told of an import's end.</param>
/// <param name="Loop">The engine.</param>
/// <param name="Memory">Its blocks.</param>
/// <param name="Model">The model.</param>
/// <param name="Peers">The way to other workers.</param>
/// <param name="Address">Where this worker takes frames.</param>
/// <param name="Counters">What is counted.</param>
/// <param name="Time">Clock.</param>
internal sealed record ImportParts(
    OpenHandOvers Open, EngineLoop Loop, PagedKvMemory Memory, ModelCard Model, WorkerPeers Peers, string Address,
    HandOverCounters Counters, TimeProvider Time);
