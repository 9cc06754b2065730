using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Host.Processes;

/// <summary>What .NET does not do with processes itself.</summary>
internal static class UnixSignal
{
    private const int Continue = 18;
    private const int Stop = 19;
    private const int ContinueOfMac = 19;
    private const int StopOfMac = 17;

    /// <summary>Stands still at once, without learning of it (<c>SIGSTOP</c>).</summary>
    /// <exception cref="Win32Exception">The system refused.</exception>
    public static void Suspend(int processId) => Send(processId, OperatingSystem.IsMacOS() ? StopOfMac : Stop);

    /// <summary>Goes on after <see cref="Suspend"/> (<c>SIGCONT</c>).</summary>
    /// <exception cref="Win32Exception">The system refused.</exception>
    public static void Resume(int processId) => Send(processId, OperatingSystem.IsMacOS() ? ContinueOfMac : Continue);

    /// <summary>Leaves the terminal of the process that started this one, and so its interrupts.</summary>
    public static void LeaveTerminal()
    {
        if (!OperatingSystem.IsWindows())
        {
            // It fails only where the process leads a group of its own, which gets no such interrupts either.
            _ = NativeSetSid();
        }
    }

    private static void Send(int processId, int signal)
    {
        if (OperatingSystem.IsWindows())
        {
            throw new PlatformNotSupportedException("processes cannot be suspended on Windows");
        }

        if (NativeKill(processId, signal) != 0)
        {
            throw new Win32Exception(Marshal.GetLastPInvokeError());
        }
    }

    [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int NativeKill(int processId, int signal);

    [DllImport("libc", EntryPoint = "setsid", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int NativeSetSid();
}
