using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// The words through which the members of a team share a job out. A member's words have their lines of the cache to
/// themselves, two of them because processors fetch pairs.
/// </summary>
/// <remarks>
/// A member's range is a number (upper 20 bits), the next task and the end (22 bits each): the owner takes from the
/// front, others from the end, and it only shrinks. As it carries the job's number, a member that wakes late takes
/// nothing of a later job, and need not be asked whether it takes part; only one that slept for a multiple of 2^20 jobs
/// takes a task after all, and finds in <see cref="NumberFor"/> whose it is. Another word is the number of the member's
/// last job and how many of its tasks it has done; the job is done when these counts say so.
/// </remarks>
internal sealed unsafe class TeamBoard : IDisposable
{
    /// <summary>Most tasks of a job.</summary>
    internal const int TaskCountMax = (1 << TaskBits) - 1;

    private const int TaskBits = 22;
    private const int NumberShift = 2 * TaskBits;
    private const ulong TaskMask = (1UL << TaskBits) - 1;
    private const ulong NumberMask = (1UL << (64 - NumberShift)) - 1;
    private const ulong OneFromTheEnd = 1UL << TaskBits;
    private const int DoneShift = 32;
    private const int CellWords = 16;
    private const int PausesBeforeYield = 500;

    private readonly int _members;
    private readonly NativeBuffer _buffer;
    private readonly ulong* _cells;

    internal TeamBoard(int members)
    {
        _members = members;
        _buffer = new NativeBuffer((1L + members) * CellWords * sizeof(ulong));
        _cells = (ulong*)_buffer.Pointer;
    }

    /// <summary>Tells the processor that this thread waits for memory to change.</summary>
    internal static void Pause()
    {
        if (X86Base.IsSupported)
        {
            X86Base.Pause();
        }
        else if (ArmBase.IsSupported)
        {
            ArmBase.Yield();
        }
        else
        {
            Thread.SpinWait(1);
        }
    }

    /// <summary>Gives every member its range of a job's tasks. All tasks of the job before are done.</summary>
    /// <param name="number">The job's number, at least 1.</param>
    /// <param name="tasks">Its tasks.</param>
    /// <returns>Tasks 0 to this one, not included, are the caller's already.</returns>
    internal int Open(uint number, int tasks)
    {
        for (var member = 0; member < _members; member++)
        {
            Volatile.Write(ref *Number(member), number);
        }

        for (var member = 0; member < _members; member++)
        {
            // The caller's first task is taken at once: taking it later would wait for these words to arrive.
            var first = member == 0 ? 1 : (ulong)FirstOf(member, _members, tasks);
            Volatile.Write(
                ref *Range(member),
                ((number & NumberMask) << NumberShift) | ((ulong)FirstOf(member + 1, _members, tasks) << TaskBits)
                    | first);
        }

        return 1;
    }

    /// <summary>The first task of a member's range; rounded up, so that the caller has at least one.</summary>
    internal static int FirstOf(int member, int members, int tasks) =>
        (int)((((long)tasks * member) + members - 1) / members);

    /// <summary>Number of the job that a task is of which the member has just taken.</summary>
    internal uint NumberFor(int member) => (uint)Volatile.Read(ref *Number(member));

    /// <summary>The next task of a member's own range.</summary>
    internal bool TryTakeOwn(int member, uint number, out int task)
    {
        var range = Volatile.Read(ref *Range(member));
        while (HasTask(range, number))
        {
            var witness = Interlocked.CompareExchange(ref *Range(member), range + 1, range);
            if (witness == range)
            {
                task = (int)(range & TaskMask);
                return true;
            }

            range = witness;
        }

        task = 0;
        return false;
    }

    /// <summary>The last task of another member's range, whose owner is slower.</summary>
    internal bool TryTakeOther(int member, uint number, out int task)
    {
        for (var i = 1; i < _members; i++)
        {
            var other = member + i;
            if (TryTakeLast(other < _members ? other : other - _members, number, out task))
            {
                return true;
            }
        }

        task = 0;
        return false;
    }

    /// <summary>Says how many tasks of a job a member has done.</summary>
    internal void Report(int member, uint number, int done) =>
        Volatile.Write(ref *Done(member), ((ulong)(uint)done << DoneShift) | number);

    /// <summary>Waits until all tasks of a job are done.</summary>
    internal void AwaitAll(uint number, int tasks)
    {
        for (var pauses = 0; CountDone(number) != tasks; pauses++)
        {
            // The stragglers finish within a task, unless another program has their processor.
            if (pauses < PausesBeforeYield)
            {
                Pause();
            }
            else
            {
                Thread.Yield();
            }
        }
    }

    public void Dispose() => _buffer.Dispose();

    private static bool HasTask(ulong range, uint number) =>
        range >> NumberShift == (number & NumberMask) && (range & TaskMask) < ((range >> TaskBits) & TaskMask);

    private bool TryTakeLast(int member, uint number, out int task)
    {
        var range = Volatile.Read(ref *Range(member));
        while (HasTask(range, number))
        {
            var witness = Interlocked.CompareExchange(ref *Range(member), range - OneFromTheEnd, range);
            if (witness == range)
            {
                task = (int)((range >> TaskBits) & TaskMask) - 1;
                return true;
            }

            range = witness;
        }

        task = 0;
        return false;
    }

    private int CountDone(uint number)
    {
        var count = 0;
        for (var member = 0; member < _members; member++)
        {
            var done = Volatile.Read(ref *Done(member));
            count += (uint)done == number ? (int)(done >> DoneShift) : 0;
        }

        return count;
    }

    private ulong* Range(int member) => _cells + ((long)member * CellWords);

    private ulong* Done(int member) => Range(member) + 1;

    private ulong* Number(int member) => Range(member) + 2;
}
