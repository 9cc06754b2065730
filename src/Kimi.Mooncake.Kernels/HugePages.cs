using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Kernels;

/// <summary>
/// Pages of megabytes for native buffers of megabytes: KV pools, working memory, unpacked weights; and for mapped files
/// that are read ahead. They are faulted in with fewer interrupts and looked up with fewer misses; what is computed
/// does not depend on them. A file that the system has in memory already stays in the pages that it was read into.
/// </summary>
public static unsafe partial class HugePages
{
    /// <summary>Bytes from which on a buffer asks for them.</summary>
    internal const long BufferBytesMin = 4 << 20;

    private const string SystemSetting = "/sys/kernel/mm/transparent_hugepage/enabled";
    private const int Advice = 14; // MADV_HUGEPAGE

    /// <summary>Whether buffers that are allocated from now on ask for them: one choice for a process.</summary>
    public static bool AreWanted { get; set; } = true;

    /// <summary>What comes of asking, for people.</summary>
    public static string Describe()
    {
        if (!AreWanted)
        {
            return "off";
        }

        if (!OperatingSystem.IsLinux())
        {
            return "not supported on this system";
        }

        return File.Exists(SystemSetting) ? Describe(File.ReadAllText(SystemSetting)) : "not supported by this kernel";
    }

    /// <summary>The same where the system's setting is so; the value in brackets is in force.</summary>
    internal static string Describe(string setting) =>
        setting.Contains("[never]", StringComparison.Ordinal) ? "refused by the system, whose setting is never"
        : setting.Contains("[always]", StringComparison.Ordinal) ? "given by the system to all memory"
        : $"asked for by buffers of {BufferBytesMin >> 20} MiB and more";

    /// <summary>Asks for them. A system that does not follow leaves ordinary pages, which will do.</summary>
    /// <returns>Whether they were wanted and the system took the request.</returns>
    internal static bool Ask(void* data, long sizeBytes)
    {
        if (!AreWanted || sizeBytes < BufferBytesMin || !OperatingSystem.IsLinux())
        {
            return false;
        }

        var page = (nuint)Environment.SystemPageSize;
        var first = ((nuint)data + page - 1) & ~(page - 1);
        var end = ((nuint)data + (nuint)sizeBytes) & ~(page - 1);
        return Advise(first, end - first, Advice) == 0;
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(nuint address, nuint length, int advice);
}
