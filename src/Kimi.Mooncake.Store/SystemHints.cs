using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kimi.Mooncake.Store;

/// <summary>Hints to a Linux kernel. Nothing depends on whether it follows them; elsewhere they do nothing.</summary>
internal static partial class SystemHints
{
    private const int HugePages = 14; // MADV_HUGEPAGE
    private const int WillNeed = 3; // POSIX_FADV_WILLNEED

    // More than this the kernel may not take of one request.
    private const long AheadStepBytes = 4 << 20;

    /// <summary>Asks for large pages, which are faulted in quickly.</summary>
    public static void UseHugePages(nint memory, long bytes)
    {
        if (OperatingSystem.IsLinux())
        {
            _ = MemoryAdvice(memory, (nuint)bytes, HugePages);
        }
    }

    /// <summary>Asks for a part of a file to be read in the background.</summary>
    public static void ReadAhead(SafeFileHandle file, long offset, long bytes)
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        for (var at = offset; at < offset + bytes; at += AheadStepBytes)
        {
            _ = FileAdvice(file, at, Math.Min(AheadStepBytes, offset + bytes - at), WillNeed);
        }
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int MemoryAdvice(nint memory, nuint bytes, int advice);

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    private static partial int FileAdvice(SafeFileHandle file, long offset, long bytes, int advice);
}
