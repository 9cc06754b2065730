using System.Collections.Concurrent;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Worker;

/// <summary>
/// The thread that owns the engine: takes requests, steps, and hands events to their readers. All other
/// threads talk to it through a queue, their cancellation tokens and a wake-up.
/// </summary>
internal sealed class EngineLoop
{
    // A transfer's end wakes the loop; this only bounds the harm of a wake-up that a connector might miss.
    private static readonly TimeSpan TransferPollInterval = TimeSpan.FromMilliseconds(20);

    private readonly EngineCore _engine;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly long _started;
    private readonly ConcurrentQueue<RequestStream> _submitted = new();
    private readonly object _parking = new();
    private readonly Dictionary<long, RequestStream> _streams = [];
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _statusLock = new();
    private readonly Thread _thread;
    private EngineStatus _status;
    private volatile bool _stopping;
    private volatile Exception? _failure;
    private volatile Exception? _end;
    private bool _awake;

    public EngineLoop(EngineCore engine, TimeProvider time, ILogger logger)
    {
        _engine = engine;
        _time = time;
        _logger = logger;
        _started = time.GetTimestamp();
        _status = engine.Status();
        _thread = new Thread(Run) { IsBackground = true, Name = "engine" };
    }

    /// <summary>Why the loop ended before it was told to; null while it runs.</summary>
    public Exception? Failure => _failure;

    /// <summary>Load and counters after the last step.</summary>
    public EngineStatus Status()
    {
        lock (_statusLock)
        {
            return _status;
        }
    }

    public void Start() => _thread.Start();

    public void Submit(RequestStream stream)
    {
        ObjectDisposedException.ThrowIf(_stopping, this);
        _submitted.Enqueue(stream);
        Interlocked.MemoryBarrier();
        if (_end is { } end)
        {
            // The thread may have looked at the queue for the last time before.
            FailSubmitted(end);
            return;
        }

        _engine.InterruptSettling();
        Wake();
    }

    /// <summary>
    /// Makes the thread look at requests, cancellations and transfers. Readers may call it long after the thread ended.
    /// </summary>
    public void Wake()
    {
        lock (_parking)
        {
            _awake = true;
            Monitor.Pulse(_parking);
        }
    }

    /// <summary>Cancels every request, ends the thread and waits for it.</summary>
    public async Task StopAsync()
    {
        _stopping = true;
        Wake();
        await _ended.Task.ConfigureAwait(false);
    }

    private void Run()
    {
        try
        {
            while (!_stopping)
            {
                TakeCommands();
                var outcome = _engine.Step(_time.GetElapsedTime(_started));
                HandOver();
                if (outcome == StepOutcome.Idle)
                {
                    Park(Timeout.InfiniteTimeSpan);
                }
                else if (outcome == StepOutcome.WaitsForTransfers)
                {
                    Park(TransferPollInterval);
                }
            }

            CancelAll();
        }
        catch (Exception exception)
        {
            // The engine's accounting is in doubt: nothing more may be computed on it.
            WorkerLog.EngineFailed(_logger, exception);
            _failure = exception;
            FailAll(exception);
        }

        _ended.SetResult();
    }

    private void Park(TimeSpan longest)
    {
        lock (_parking)
        {
            if (!_awake)
            {
                Monitor.Wait(_parking, longest);
            }

            _awake = false;
        }
    }

    private void TakeCommands()
    {
        while (_submitted.TryDequeue(out var stream))
        {
            Admit(stream);
        }

        HandOver();
    }

    private void Admit(RequestStream stream)
    {
        try
        {
            var admission = _engine.Submit(stream.Request, _time.GetElapsedTime(_started), stream.Cancellation);
            if (admission.Reason == AdmissionReason.Accepted)
            {
                _streams.Add(admission.SequenceId, stream);
            }

            stream.Admission.SetResult(admission);
        }
        catch (ArgumentException exception)
        {
            stream.Fail(exception);
        }
    }

    private void HandOver()
    {
        foreach (ref readonly var engineEvent in _engine.Events)
        {
            if (!_streams.TryGetValue(engineEvent.SequenceId, out var stream))
            {
                throw new InvalidOperationException($"nobody reads the events of sequence {engineEvent.SequenceId}");
            }

            stream.Write(engineEvent);
            if (engineEvent.Kind == EngineEventKind.Finished)
            {
                _streams.Remove(engineEvent.SequenceId);
                if (engineEvent.Reason == FinishReason.Failed)
                {
                    WorkerLog.RequestFailed(_logger, stream.Request.RequestId, engineEvent.Message);
                }
            }
        }

        _engine.ClearEvents();
        lock (_statusLock)
        {
            _status = _engine.Status();
        }
    }

    private void CancelAll()
    {
        foreach (var sequenceId in _streams.Keys.ToArray())
        {
            _engine.Cancel(sequenceId);
        }

        HandOver();
        FailAll(new OperationCanceledException("the worker is stopping"));
    }

    private void FailAll(Exception exception)
    {
        _end = exception;
        Interlocked.MemoryBarrier();
        foreach (var stream in _streams.Values)
        {
            stream.Fail(exception);
        }

        FailSubmitted(exception);
    }

    private void FailSubmitted(Exception exception)
    {
        while (_submitted.TryDequeue(out var stream))
        {
            stream.Fail(exception);
        }
    }
}
