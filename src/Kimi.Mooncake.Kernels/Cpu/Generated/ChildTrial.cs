using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Generated;

/// <summary>A routine and what to call it with.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct TrialCall(nint routine, nint arguments)
{
    internal nint Routine { get; } = routine;

    internal nint Arguments { get; } = arguments;
}

/// <summary>
/// Calls generated routines in a child process, which a fault ends instead of this one. The child has a copy of all
/// memory: what the routines write is not seen here.
/// </summary>
/// <remarks>
/// The child executes generated code only, since none of the runtime's other threads exist in it. It lets go of the
/// runtime's signal handlers, leaves no core file, and is ended by an alarm if it takes too long.
/// </remarks>
internal static unsafe partial class ChildTrial
{
    private const int WaitForAnyKind = 0x40000000;
    private const int Interrupted = 4;
    private const int SignalBits = 0x7f;

    // System calls of Linux on x86-64.
    private const int SetSignalAction = 13;
    private const int SetAlarm = 37;
    private const int Clone = 56;
    private const int SetProcess = 157;
    private const int ExitAll = 231;

    private const int Dumpable = 4;
    private const int SignalSetBytes = 8;
    private const int SignalActionBytes = 32;
    private const int CallBytes = 16;

    // Illegal instruction, trap, abort, bus, arithmetic, segment, alarm.
    private static readonly int[] Signals = [4, 5, 6, 7, 8, 11, 14];

    /// <summary>Calls them in order.</summary>
    /// <param name="calls">Calls, at least one.</param>
    /// <param name="secondsMax">After so many seconds the child is ended.</param>
    /// <returns>Nothing if all returned, or what happened.</returns>
    /// <exception cref="PlatformNotSupportedException">There are no generated routines.</exception>
    internal static string? Run(ReadOnlySpan<TrialCall> calls, int secondsMax)
    {
        ArgumentOutOfRangeException.ThrowIfZero(calls.Length);
        using var code = new MachineCode(assembler => Write(assembler, secondsMax));
        var defaultAction = stackalloc byte[SignalActionBytes];
        new Span<byte>(defaultAction, SignalActionBytes).Clear();
        long child;
        fixed (TrialCall* first = calls)
        {
            var arguments = new Arguments { Calls = first, Count = calls.Length, DefaultAction = defaultAction };
            code.Call(&arguments);
            child = arguments.Child;
        }

        if (child < 0)
        {
            return $"no child process: error {-child}";
        }

        var status = 0;
        while (Wait((int)child, &status, WaitForAnyKind) < 0)
        {
            var error = Marshal.GetLastPInvokeError();
            if (error != Interrupted)
            {
                return $"no end of a child process: error {error}";
            }
        }

        return status == 0 ? null
            : (status & SignalBits) != 0 ? $"a child process ended by signal {status & SignalBits}"
            : $"a child process ended with status {status}";
    }

    private static void Write(Assembler c, int secondsMax)
    {
        Label child = c.CreateLabel(), next = c.CreateLabel();
        c.push(rbx);
        c.push(r12);
        c.push(r13);
        c.mov(rbx, rdi);
        c.mov(eax, Clone);
        c.xor(edi, edi);
        c.xor(esi, esi);
        c.xor(edx, edx);
        c.xor(r10d, r10d);
        c.xor(r8d, r8d);
        c.syscall();
        c.test(rax, rax);
        c.je(child);
        c.mov(Argument(nameof(Arguments.Child)), rax);
        c.pop(r13);
        c.pop(r12);
        c.pop(rbx);
        c.ret();

        c.Label(ref child);
        foreach (var signal in Signals)
        {
            c.mov(eax, SetSignalAction);
            c.mov(edi, signal);
            c.mov(rsi, Argument(nameof(Arguments.DefaultAction)));
            c.xor(edx, edx);
            c.mov(r10d, SignalSetBytes);
            c.syscall();
        }

        c.mov(eax, SetProcess);
        c.mov(edi, Dumpable);
        c.xor(esi, esi);
        c.syscall();
        c.mov(eax, SetAlarm);
        c.mov(edi, secondsMax);
        c.syscall();
        c.mov(r12, Argument(nameof(Arguments.Calls)));
        c.mov(r13, Argument(nameof(Arguments.Count)));
        c.Label(ref next);
        c.mov(rdi, __qword_ptr[r12 + sizeof(long)]);
        c.call(__qword_ptr[r12]);
        c.add(r12, CallBytes);
        c.dec(r13);
        c.jne(next);
        c.mov(eax, ExitAll);
        c.xor(edi, edi);
        c.syscall();
    }

    private static AssemblerMemoryOperand Argument(string name) =>
        __qword_ptr[rbx + (int)Marshal.OffsetOf<Arguments>(name)];

    [LibraryImport("libc", EntryPoint = "waitpid", SetLastError = true)]
    private static partial int Wait(int process, int* status, int options);

    [StructLayout(LayoutKind.Sequential)]
    private struct Arguments
    {
        internal TrialCall* Calls;
        internal long Count;
        internal byte* DefaultAction;
        internal long Child;
    }
}
