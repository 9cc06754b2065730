using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>A task of the work that a <see cref="WorkerTeam"/> shares out; tasks run in any order, at once.</summary>
/// <param name="task">Index of the task.</param>
/// <param name="member">Member that runs it; no two tasks of a member overlap.</param>
internal delegate void TeamTask(int task, int member);

/// <summary>
/// A fixed set of threads that run one job at a time with the calling thread, which is member 0. A member first runs a
/// range of tasks of its own, so that it streams the same memory in every step, and then takes tasks from the ends of
/// the others' ranges, so that a slow member holds nobody else up. A dispatch allocates nothing, and takes no lock
/// unless threads have parked.
/// </summary>
/// <remarks>
/// A job is announced by its number, and done when the counts on the <see cref="TeamBoard"/> say so: the caller waits
/// for tasks, never for threads, and a thread that wakes late finds nothing left to take.
/// </remarks>
internal sealed class WorkerTeam : IDisposable
{
    internal const int ThreadCountMax = 1024;

    // What a core does in about twice the time that it costs to bring the others in.
    private const long SharedWorkMin = 1 << 15;

    // Longer than what lies between two jobs of a decode loop.
    private static readonly long SpinTicks = Stopwatch.Frequency / 500;

    // After so long the processor goes to whoever else wants it.
    private static readonly long GreedyTicks = Stopwatch.Frequency / 10_000;

    private readonly Thread[] _threads;
    private readonly TeamBoard _board;
    private readonly ThreadPinning? _pinning;
    private readonly object _parking = new();
    private readonly Announcement _announced = new();
    private int _parkedThreads;
    private Exception? _error;
    private bool _stopping;
    private bool _running;

    /// <summary>Starts the background threads.</summary>
    /// <param name="threadCount">Threads with the caller's; 0 is one for each core.</param>
    /// <param name="pinThreads">Whether each thread stays on a processor of its own.</param>
    /// <exception cref="PlatformNotSupportedException">Threads cannot be pinned here.</exception>
    /// <exception cref="ArgumentException">There are fewer processors than threads to pin.</exception>
    internal WorkerTeam(int threadCount, bool pinThreads = false)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(threadCount);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(threadCount, ThreadCountMax);
        MemberCount = threadCount == 0 ? Environment.ProcessorCount : threadCount;
        _pinning = pinThreads ? new ThreadPinning(MemberCount) : null;
        _board = new TeamBoard(MemberCount);
        Reads = new ReadOrder(MemberCount);
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

    /// <summary>What members read from job to job.</summary>
    internal ReadOrder Reads { get; }

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

        ArgumentOutOfRangeException.ThrowIfGreaterThan(taskCount, TeamBoard.TaskCountMax);
        _running = true;
        try
        {
            _pinning?.PinCaller();
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
        if (_stopping)
        {
            return;
        }

        lock (_parking)
        {
            Volatile.Write(ref _stopping, true);
            Monitor.PulseAll(_parking);
        }

        foreach (var thread in _threads)
        {
            thread.Join();
        }

        _board.Dispose();
        _pinning?.Dispose();
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
        var number = _announced.Number + 1;
        if (number == 0)
        {
            number = 1;
        }

        // Before there are tasks: whoever takes one finds its job here.
        _announced.Job = job;
        var done = _board.Open(number, taskCount);
        Volatile.Write(ref _announced.Number, number);
        // No fence on this side: who parks makes every thread of the process pass one.
        if (Volatile.Read(ref _parkedThreads) > 0)
        {
            lock (_parking)
            {
                Monitor.PulseAll(_parking);
            }
        }

        Do(job, 0, 0);
        Drain(job, 0, number, done);
        _board.AwaitAll(number, taskCount);
        if (_error is { } error)
        {
            _error = null;
            ExceptionDispatchInfo.Throw(error);
        }
    }

    private void Serve(int member)
    {
        _pinning?.Pin(member);
        var seen = 0u;
        while (AwaitJob(ref seen))
        {
            // May be a later job's already, but then no task of this number is left.
            Drain(_announced.Job!, member, seen, 0);
            Reads.AskWaiting(member, ref _announced.Number, seen);
        }
    }

    /// <summary>Spins, then parks, until there is a job not seen before. False when the team ends.</summary>
    private bool AwaitJob(ref uint seen)
    {
        if (SpinForJob(ref seen))
        {
            return true;
        }

        lock (_parking)
        {
            // A fence for all between this and the check: the caller either sees the parked thread or is seen by it.
            Interlocked.Increment(ref _parkedThreads);
            Interlocked.MemoryBarrierProcessWide();
            while (!_stopping && !HasNewJob(ref seen))
            {
                Monitor.Wait(_parking);
            }

            Interlocked.Decrement(ref _parkedThreads);
            return !_stopping;
        }
    }

    private bool SpinForJob(ref uint seen)
    {
        const int PausesPerLook = 32;
        var started = Stopwatch.GetTimestamp();
        while (!Volatile.Read(ref _stopping))
        {
            for (var i = 0; i < PausesPerLook; i++)
            {
                if (HasNewJob(ref seen))
                {
                    return true;
                }

                TeamBoard.Pause();
            }

            var elapsed = Stopwatch.GetTimestamp() - started;
            if (elapsed > SpinTicks)
            {
                return false;
            }

            if (elapsed > GreedyTicks)
            {
                Thread.Yield();
            }
        }

        return false;
    }

    private bool HasNewJob(ref uint seen)
    {
        var number = Volatile.Read(ref _announced.Number);
        if (number == seen)
        {
            return false;
        }

        seen = number;
        return true;
    }

    private void Drain(TeamTask job, int member, uint number, int done)
    {
        while (_board.TryTakeOwn(member, number, out var task))
        {
            Do(JobOf(member, ref number, job), task, member);
            done++;
        }

        if (done > 0)
        {
            _board.Report(member, number, done);
        }

        while (_board.TryTakeOther(member, number, out var task))
        {
            Do(JobOf(member, ref number, job), task, member);
            _board.Report(member, number, ++done);
        }
    }

    /// <summary>The job of a task just taken, and its number: as expected unless this thread slept for long.</summary>
    private TeamTask JobOf(int member, ref uint number, TeamTask expected)
    {
        var current = _board.NumberFor(member);
        if (current == number)
        {
            return expected;
        }

        number = current;
        return _announced.Job!;
    }

    /// <summary>Runs a task; after an exception tasks are only counted.</summary>
    private void Do(TeamTask job, int task, int member)
    {
        if (Volatile.Read(ref _error) is not null)
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
            Interlocked.CompareExchange(ref _error, error, null);
        }
    }

    /// <summary>
    /// What the others look at while they wait. The fields stand side by side: references come first, then numbers, and
    /// the rest keeps neighbours of the object off the line.
    /// </summary>
    private sealed class Announcement
    {
        public TeamTask? Job;
        public uint Number;
#pragma warning disable CS0169, IDE0051, CA1823, S1144 // Room.
        private readonly Room _room;
#pragma warning restore CS0169, IDE0051, CA1823, S1144

        [InlineArray(12)]
        private struct Room
        {
            private long _first;
        }
    }
}
