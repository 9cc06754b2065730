using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// Keeps each member of a team on a processor of its own: member i on the i-th of those that the process may use. The
/// thread that calls is pinned when it first does and set free by <see cref="Dispose"/> if that is called on it.
/// </summary>
internal sealed unsafe partial class ThreadPinning : IDisposable
{
    private const int MaskBytes = 1024;
    private const int MaskWords = MaskBytes / sizeof(ulong);
    private const int BitsPerWord = 64;

    private readonly int[] _processors;
    private readonly ulong[] _allowed = new ulong[MaskWords];
    private int _callerThread;

    /// <summary>Reads which processors the calling thread may use.</summary>
    /// <exception cref="PlatformNotSupportedException">The system is not Linux.</exception>
    /// <exception cref="ArgumentException">There are fewer processors than members.</exception>
    internal ThreadPinning(int members)
    {
        if (!OperatingSystem.IsLinux())
        {
            throw new PlatformNotSupportedException(
                "threads can be pinned to processors on Linux only; switch the option off (worker.pin_threads)");
        }

        Affinity().CopyTo(_allowed, 0);
        _processors = [.. Processors(_allowed)];
        if (members > _processors.Length)
        {
            throw new ArgumentException(
                $"{members} threads cannot be pinned: this process may use {_processors.Length} processors; use fewer "
                + "threads (worker.threads) or do not pin them (worker.pin_threads)");
        }

        // What the system refuses is found out here, where somebody can be told.
        for (var member = 0; member < members; member++)
        {
            Pin(member);
        }

        Free();
    }

    /// <summary>The processors that the calling thread may use, ascending.</summary>
    internal static IReadOnlyList<int> CurrentProcessors() => [.. Processors(Affinity())];

    /// <summary>Pins the calling thread as a member.</summary>
    internal void Pin(int member)
    {
        var mask = stackalloc ulong[MaskWords];
        new Span<ulong>(mask, MaskWords).Clear();
        var processor = _processors[member];
        mask[processor / BitsPerWord] = 1UL << (processor % BitsPerWord);
        Set(mask);
    }

    /// <summary>Pins the calling thread as member 0, unless it is already.</summary>
    internal void PinCaller()
    {
        if (_callerThread != Environment.CurrentManagedThreadId)
        {
            Pin(0);
            _callerThread = Environment.CurrentManagedThreadId;
        }
    }

    public void Dispose()
    {
        if (_callerThread == Environment.CurrentManagedThreadId)
        {
            Free();
        }
    }

    private void Free()
    {
        fixed (ulong* mask = _allowed)
        {
            Set(mask);
        }
    }

    private static ulong[] Affinity()
    {
        var mask = new ulong[MaskWords];
        fixed (ulong* first = mask)
        {
            if (GetAffinity(0, MaskBytes, first) < 0)
            {
                throw new Win32Exception(Marshal.GetLastPInvokeError(), "sched_getaffinity failed");
            }
        }

        return mask;
    }

    private static void Set(ulong* mask)
    {
        if (SetAffinity(0, MaskBytes, mask) < 0)
        {
            throw new Win32Exception(Marshal.GetLastPInvokeError(), "sched_setaffinity failed");
        }
    }

    private static IEnumerable<int> Processors(ulong[] mask) => Enumerable.Range(0, mask.Length * BitsPerWord)
        .Where(processor => (mask[processor / BitsPerWord] >> (processor % BitsPerWord) & 1) != 0);

    [LibraryImport("libc", EntryPoint = "sched_getaffinity", SetLastError = true)]
    private static partial int GetAffinity(int thread, nuint bytes, ulong* mask);

    [LibraryImport("libc", EntryPoint = "sched_setaffinity", SetLastError = true)]
    private static partial int SetAffinity(int thread, nuint bytes, ulong* mask);
}
