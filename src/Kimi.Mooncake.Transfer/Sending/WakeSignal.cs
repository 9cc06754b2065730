using System.Threading.Tasks.Sources;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// Wakes the one task that waits. May be set from any thread, never blocks, never runs the waiter on the setter's
/// stack,
/// and does not allocate. A signal that comes while nobody waits is kept.
/// </summary>
internal sealed class WakeSignal : IValueTaskSource, IThreadPoolWorkItem
{
    private const int Idle = 0;
    private const int Signalled = 1;
    private const int Waiting = 2;

    private ManualResetValueTaskSourceCore<bool> _core;
    private int _state;

    public void Set()
    {
        if (Interlocked.Exchange(ref _state, Signalled) == Waiting)
        {
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }
    }

    /// <summary>Ends when there was a signal since the last wait.</summary>
    public ValueTask WaitAsync()
    {
        if (Interlocked.Exchange(ref _state, Idle) == Signalled)
        {
            return ValueTask.CompletedTask;
        }

        _core.Reset();
        return Interlocked.CompareExchange(ref _state, Waiting, Idle) == Idle
            ? new ValueTask(this, _core.Version)
            : TakeSignal();
    }

    public void Execute()
    {
        // The waiter takes the signal with it.
        Interlocked.CompareExchange(ref _state, Idle, Signalled);
        _core.SetResult(true);
    }

    public void GetResult(short token) => _core.GetResult(token);

    public ValueTaskSourceStatus GetStatus(short token) => _core.GetStatus(token);

    public void OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _core.OnCompleted(continuation, state, token, flags);

    private ValueTask TakeSignal()
    {
        Interlocked.Exchange(ref _state, Idle);
        return ValueTask.CompletedTask;
    }
}
