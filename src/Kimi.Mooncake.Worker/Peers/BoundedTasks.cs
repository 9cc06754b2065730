namespace Kimi.Mooncake.Worker.Peers;

/// <summary>At most so many tasks at once, all of which have ended when it is disposed. Any thread may call.</summary>
/// <param name="tasksMax">Most tasks.</param>
internal sealed class BoundedTasks(int tasksMax) : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _gate = new();
    private int _running;
    private bool _closed;

    /// <summary>Whether so many more may be started; more than ever may are let in when none run.</summary>
    public bool HasRoomFor(int tasks)
    {
        lock (_gate)
        {
            return !_closed && (_running == 0 || _running + tasks <= tasksMax);
        }
    }

    /// <summary>Starts a task, which must not throw; false when as many run as may.</summary>
    public bool TryRun(Func<CancellationToken, Task> work)
    {
        lock (_gate)
        {
            if (_closed || _running == tasksMax)
            {
                return false;
            }

            _running++;
        }

        _ = Task.Run(() => RunAsync(work));
        return true;
    }

    /// <summary>Starts no more, cancels what runs, and waits for it.</summary>
    public async ValueTask DisposeAsync()
    {
        bool isFirst;
        lock (_gate)
        {
            isFirst = !_closed;
            _closed = true;
            if (_running == 0)
            {
                _ended.TrySetResult();
            }
        }

        if (isFirst)
        {
            await _stop.CancelAsync().ConfigureAwait(false);
        }

        await _ended.Task.ConfigureAwait(false);
        _stop.Dispose();
    }

    private async Task RunAsync(Func<CancellationToken, Task> work)
    {
        try
        {
            await work(_stop.Token).ConfigureAwait(false);
        }
        finally
        {
            lock (_gate)
            {
                if (--_running == 0 && _closed)
                {
                    _ended.TrySetResult();
                }
            }
        }
    }
}
