using System.Collections.Concurrent;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Worker;

/// <summary>
/// The thread that owns the engine: takes commands, steps, and delivers events to their readers. All other threads talk
/// to it through a queue, their cancellation tokens and a wake-up.
/// </summary>
internal sealed class EngineLoop
{
    // A transfer's end wakes the loop; this only bounds the harm of a wake-up that a connector might miss.
    private static readonly TimeSpan TransferPollInterval = TimeSpan.FromMilliseconds(20);

    // Questions of other processes; each waits for at most one step.
    private const int CallsWaitingMax = 1024;

    private readonly EngineCore _engine;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly KvEventFeed? _feed;
    private readonly Func<PreemptionRates>? _rates;
    private readonly long _started;
    private readonly ConcurrentQueue<EngineCommand> _commands = new();
    private readonly object _parking = new();
    private readonly Dictionary<long, RequestStream> _streams = [];
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _statusLock = new();
    private readonly Thread _thread;
    private EngineStatus _status;
    private volatile bool _stopping;
    private volatile Exception? _failure;
    private volatile Exception? _end;
    private int _callsWaiting;
    private bool _awake;

    /// <summary>Makes a loop; it runs from <see cref="Start"/> on.</summary>
    /// <param name="engine">Nobody else may touch it from now on.</param>
    /// <param name="time">Clock.</param>
    /// <param name="logger">Takes what an operator should know.</param>
    /// <param name="feed">Is told what enters and leaves the prefix tree; null where nobody wants to know.</param>
    /// <param name="rates">What preemption is to go by, as measured; null leaves it to the options.</param>
    public EngineLoop(
        EngineCore engine, TimeProvider time, ILogger logger, KvEventFeed? feed = null,
        Func<PreemptionRates>? rates = null)
    {
        _feed = feed;
        _rates = rates;
        _engine = engine;
        _time = time;
        _logger = logger;
        _started = time.GetTimestamp();
        _status = engine.Status();
        _thread = new Thread(Run) { IsBackground = true, Name = "engine" };
    }

    /// <summary>Why the loop ended before it was told to; null while it runs.</summary>
    public Exception? Failure => _failure;

    /// <summary>The engine's time.</summary>
    public TimeSpan Now => _time.GetElapsedTime(_started);

    /// <summary>Load and counters after the last step.</summary>
    public EngineStatus Status()
    {
        lock (_statusLock)
        {
            return _status;
        }
    }

    public void Start() => _thread.Start();

    /// <summary>Gives a request to the engine; the stream tells what becomes of it.</summary>
    /// <exception cref="ObjectDisposedException">The loop is stopping.</exception>
    public void Submit(RequestStream stream)
    {
        ObjectDisposedException.ThrowIf(_stopping, this);
        Enqueue(new Submission(this, stream));
        _engine.InterruptSettling();
    }

    /// <summary>
    /// Has the engine's thread do something between two steps; dropped when the thread has ended. For what must happen
    /// at the end of a hand-over or a pull, of which there are at most a few for each request or call.
    /// </summary>
    public void Post(Action<EngineCore> action) => Enqueue(new EnginePost(action));

    /// <summary>Asks the engine something between two steps.</summary>
    /// <exception cref="QueueFullException">As many calls wait as may.</exception>
    /// <exception cref="ObjectDisposedException">The loop is stopping.</exception>
    public async Task<T> CallAsync<T>(Func<EngineCore, T> function)
    {
        ObjectDisposedException.ThrowIf(_stopping, this);
        try
        {
            if (Interlocked.Increment(ref _callsWaiting) > CallsWaitingMax)
            {
                throw new QueueFullException(CallsWaitingMax, CallsWaitingMax);
            }

            var call = new EngineCall<T>(function);
            Enqueue(call);
            return await call.Answer.ConfigureAwait(false);
        }
        finally
        {
            Interlocked.Decrement(ref _callsWaiting);
        }
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
                if (_rates is not null)
                {
                    _engine.UseRates(_rates());
                }

                var outcome = _engine.Step(Now);
                Deliver();
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

    private void Enqueue(EngineCommand command)
    {
        _commands.Enqueue(command);
        Interlocked.MemoryBarrier();
        if (_end is { } end)
        {
            // The thread may have looked at the queue for the last time before.
            FailCommands(end);
            return;
        }

        Wake();
    }

    private void TakeCommands()
    {
        while (_commands.TryDequeue(out var command))
        {
            command.Run(_engine);
        }

        Deliver();
    }

    private void Admit(RequestStream stream)
    {
        try
        {
            var admission = _engine.Submit(stream.Request, Now, stream.Mode, stream.Cancellation);
            if (admission.Reason == AdmissionReason.Accepted)
            {
                _streams.Add(admission.SequenceId, stream);
            }

            stream.Answer(admission);
        }
        catch (ArgumentException exception)
        {
            stream.Fail(exception);
        }
    }

    private void Deliver()
    {
        foreach (ref readonly var engineEvent in _engine.Events)
        {
            if (!_streams.TryGetValue(engineEvent.SequenceId, out var stream))
            {
                throw new InvalidOperationException($"nobody reads the events of sequence {engineEvent.SequenceId}");
            }

            if (engineEvent.Kind == EngineEventKind.Reserved)
            {
                stream.Reserve(_engine.BlockIdsOf(engineEvent.SequenceId));
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
        if (_feed is not null)
        {
            _feed.Publish(_engine.KvEvents);
            _engine.ClearKvEvents();
        }

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

        Deliver();
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

        FailCommands(exception);
    }

    private void FailCommands(Exception exception)
    {
        while (_commands.TryDequeue(out var command))
        {
            command.Fail(exception);
        }
    }

    private sealed class Submission(EngineLoop loop, RequestStream stream) : EngineCommand
    {
        public override void Run(EngineCore engine) => loop.Admit(stream);

        public override void Fail(Exception exception) => stream.Fail(exception);
    }
}
