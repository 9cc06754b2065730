using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>
/// What a program does that only wants the bytes on disk and back: requests of 1 MiB, one after another.
/// </summary>
internal static class PlainFile
{
    private const int RequestBytes = 1 << 20;
    private const int DontNeed = 4; // POSIX_FADV_DONTNEED

    /// <summary>Writes bytes to a new file, until the drive has them.</summary>
    public static void Write(string path, IReadOnlyList<byte[]> blocks)
    {
        using var file = File.OpenHandle(path, FileMode.Create, FileAccess.Write);
        var offset = 0L;
        foreach (var block in blocks)
        {
            for (var at = 0; at < block.Length; at += RequestBytes)
            {
                var part = block.AsSpan(at, Math.Min(RequestBytes, block.Length - at));
                RandomAccess.Write(file, part, offset);
                offset += part.Length;
            }
        }

        RandomAccess.FlushToDisk(file);
    }

    /// <summary>Reads a file from its beginning to its end.</summary>
    public static long Read(string path, byte[] buffer)
    {
        using var file = File.OpenHandle(path, options: FileOptions.SequentialScan);
        var offset = 0L;
        var request = buffer.AsSpan(0, Math.Min(RequestBytes, buffer.Length));
        while (RandomAccess.Read(file, request, offset) is > 0 and var count)
        {
            offset += count;
        }

        return offset;
    }

    /// <summary>Has the system forget what it keeps of files in memory. Only Linux does.</summary>
    /// <param name="folder">The files in it and its folders.</param>
    /// <param name="names">Names of the files, with wildcards: others may be locked.</param>
    public static void DropFromMemory(string folder, string names)
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        foreach (var path in Directory.EnumerateFiles(folder, names, SearchOption.AllDirectories))
        {
            using var file = File.OpenHandle(path, share: FileShare.ReadWrite | FileShare.Delete);
            RandomAccess.FlushToDisk(file);
            _ = NativeAdvise(file, 0, 0, DontNeed);
        }
    }

    [DllImport("libc", EntryPoint = "posix_fadvise")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int NativeAdvise(SafeFileHandle file, long offset, long bytes, int advice);
}
