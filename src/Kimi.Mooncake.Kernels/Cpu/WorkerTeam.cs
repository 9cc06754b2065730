using System.Runtime.ExceptionServices;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>A task of the work that a <see cref="WorkerTeam"/> shares out; tasks run in any order, at once.</summary>
/// <param name="task">Index of the task.</param>
/// <param name="member">Member that runs it; no two tasks of a member overlap.</param>
internal delegate void TeamTask(int task, int member);

/// <summary>
/// A fixed set of threads that run one job at a time with the calling thread, which is member 0. Tasks are handed out
/// by a counter, so a slow task holds nobody else up. A dispatch allocates nothing.
/// </summary>
/// <remarks>
/// <c>_state</c> is the job's generation (upper half), whether it still takes members (<see cref="ClosedBit"/>) and the
/// number of background threads that joined it. A thread that wakes late finds the job closed and stays out, so the
/// caller waits only for threads that really took part.
/// </remarks>
internal sealed class WorkerTeam : IDisposable
{
    internal const int ThreadCountMax = 1024;

    // About 5 microseconds of one core, which is what it costs to bring the others in.
    private const long SharedWorkMin = 1 << 18;
    private const long ClosedBit = 1L << 31;
    private const long JoinedMask = ClosedBit - 1;
    private const int GenerationShift = 32;
    private const int SpinRounds = 100;
    private const int SpinsPerRound = 16;

    private readonly Thread[] _threads;
    private readonly Lock _errorGate = new();
    private readonly object _parking = new();
    private long _state = ClosedBit;
    private int _parkedThreads;
    private int _leftThreads;
    private int _nextTask;
    private int _taskCount;
    private TeamTask? _job;
    private Exception? _error;
    private bool _stopping;
    private bool _running;

    /// <summary>Starts the background threads.</summary>
    /// <param name="threadCount">Threads with the caller's; 0 is one for each core.</param>
    internal WorkerTeam(int threadCount)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(threadCount);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(threadCount, ThreadCountMax);
        MemberCount = threadCount == 0 ? Environment.ProcessorCount : threadCount;
        _threads = new Thread[MemberCount - 1];
        for (var i = 0; i < _threads.Length; i++)
        {
            var member = i + 1;
            _threads[i] = new Thread(() => Serve(member)) { IsBackground = true, Name = $"kernels {member}" };
            _threads[i].Start();
        }
    }

    /// <summary>Threads that work on a job, the caller's included.</summary>
    internal int MemberCount { get; }

    /// <summary>Runs tasks 0 to <paramref name="taskCount"/> - 1 and returns when all are done.</summary>
    /// <exception cref="InvalidOperationException">A job is running already.</exception>
    /// <remarks>A task's exception ends the job (tasks not yet begun are dropped) and is thrown here.</remarks>
    /// <param name="job">Kept by its owner from call to call, so that a dispatch allocates nothing.</param>
    /// <param name="taskCount">Number of tasks.</param>
    /// <param name="work">Multiply-adds of all tasks, or what takes as long; little work stays on this thread.</param>
    internal void Run(TeamTask job, int taskCount, long work)
    {
        ObjectDisposedException.ThrowIf(_stopping, this);
        if (_running)
        {
            throw new InvalidOperationException("the team runs one job at a time");
        }

        _running = true;
        try
        {
            if (_threads.Length == 0 || taskCount <= 1 || work < SharedWorkMin)
            {
                RunAlone(job, taskCount);
            }
            else
            {
                RunTogether(job, taskCount);
            }
        }
        finally
        {
            _running = false;
        }
    }

    /// <summary>Ends the background threads and waits until they have ended.</summary>
    public void Dispose()
    {
        lock (_parking)
        {
            _stopping = true;
            Monitor.PulseAll(_parking);
        }

        foreach (var thread in _threads)
        {
            thread.Join();
        }
    }

    private static void RunAlone(TeamTask job, int taskCount)
    {
        for (var task = 0; task < taskCount; task++)
        {
            job(task, 0);
        }
    }

    private void RunTogether(TeamTask job, int taskCount)
    {
        _job = job;
        _taskCount = taskCount;
        _nextTask = 0;
        _leftThreads = 0;
        var generation = (_state >> GenerationShift) + 1;
        Interlocked.Exchange(ref _state, generation << GenerationShift);
        if (Volatile.Read(ref _parkedThreads) > 0)
        {
            lock (_parking)
            {
                Monitor.PulseAll(_parking);
            }
        }

        Drain(0);
        var joined = (int)(Interlocked.Or(ref _state, ClosedBit) & JoinedMask);
        var spin = default(SpinWait);
        while (Volatile.Read(ref _leftThreads) != joined)
        {
            // Yields, but never sleeps: the stragglers finish within a task.
            spin.SpinOnce(sleep1Threshold: -1);
        }

        _job = null;
        if (_error is { } error)
        {
            _error = null;
            ExceptionDispatchInfo.Throw(error);
        }
    }

    private void Serve(int member)
    {
        var seen = 0L;
        while (AwaitJob(ref seen))
        {
            if (TryJoin(seen))
            {
                Drain(member);
                Interlocked.Increment(ref _leftThreads);
            }
        }
    }

    /// <summary>Spins, then parks, until there is a job not seen before. False when the team ends.</summary>
    private bool AwaitJob(ref long seen)
    {
        for (var round = 0; round < SpinRounds; round++)
        {
            if (IsNewJob(ref seen))
            {
                return true;
            }

            Thread.SpinWait(SpinsPerRound);
        }

        lock (_parking)
        {
            // A full fence between this and the check: the dispatcher either sees the parked thread or is seen by it.
            Interlocked.Increment(ref _parkedThreads);
            while (!_stopping && !IsNewJob(ref seen))
            {
                Monitor.Wait(_parking);
            }

            Interlocked.Decrement(ref _parkedThreads);
            return !_stopping;
        }
    }

    private bool IsNewJob(ref long seen)
    {
        var generation = Volatile.Read(ref _state) >> GenerationShift;
        if (generation == seen)
        {
            return false;
        }

        seen = generation;
        return true;
    }

    private bool TryJoin(long generation)
    {
        var state = Volatile.Read(ref _state);
        while (state >> GenerationShift == generation && (state & ClosedBit) == 0)
        {
            var witness = Interlocked.CompareExchange(ref _state, state + 1, state);
            if (witness == state)
            {
                return true;
            }

            state = witness;
        }

        return false;
    }

    private void Drain(int member)
    {
        var job = _job!;
        while (true)
        {
            var task = Interlocked.Increment(ref _nextTask) - 1;
            if (task >= _taskCount)
            {
                return;
            }

            try
            {
                job(task, member);
            }
#pragma warning disable CA1031 // Whatever a task throws belongs to the caller of Run, which is on another thread.
            catch (Exception error)
#pragma warning restore CA1031
            {
                lock (_errorGate)
                {
                    _error ??= error;
                }

                Interlocked.Exchange(ref _nextTask, _taskCount);
            }
        }
    }
}
