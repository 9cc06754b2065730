using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using Microsoft.Win32.SafeHandles;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// Memory without a name that two processes can map; the system frees it when the last of them is gone.
/// </summary>
[SupportedOSPlatform("linux")]
internal static unsafe partial class LinuxMemory
{
    private const uint CloseOnExec = 1;
    private const uint AllowSealing = 2;
    private const int AddSeals = 1033;
    private const int GetSeals = 1034;
    private const int SealSeal = 1;
    private const int SealShrink = 2;
    private const int SealGrow = 4;
    private const int ReadWrite = 3;
    private const int NoAccess = 0;
    private const int MapShared = 1;
    private const int MapPrivateAnonymous = 0x22;
    private const int MapFixed = 0x10;
    private const nint MapFailed = -1;

    /// <summary>Makes memory of a length that cannot change any more.</summary>
    /// <exception cref="IOException">The system refuses.</exception>
    public static SafeFileHandle Create(string name, long bytes)
    {
        var handle = new SafeFileHandle(Checked(MemfdCreate(name, CloseOnExec | AllowSealing), "memfd_create"), true);
        try
        {
            Checked(Ftruncate(handle, bytes), "ftruncate");
            Checked(Fcntl(handle, AddSeals, SealShrink | SealGrow | SealSeal), "fcntl(F_ADD_SEALS)");
            return handle;
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Whether the memory cannot shrink; otherwise whoever has it could make an access of this process fail with
    /// SIGBUS.
    /// </summary>
    public static bool CannotShrink(SafeFileHandle handle)
    {
        var seals = Fcntl(handle, GetSeals, 0);
        return seals >= 0 && (seals & (SealShrink | SealSeal)) == (SealShrink | SealSeal);
    }

    /// <summary>Maps a part of it.</summary>
    /// <exception cref="IOException">The system refuses.</exception>
    public static byte* Map(SafeFileHandle handle, long offset, long bytes) =>
        (byte*)Mapped(Mmap(0, (nuint)bytes, ReadWrite, MapShared, handle, offset));

    /// <summary>Maps a part of it twice, one after the other, so that what runs over the end is in one piece.</summary>
    /// <exception cref="IOException">The system refuses.</exception>
    public static byte* MapTwice(SafeFileHandle handle, long offset, long bytes)
    {
        var place = Mapped(MmapAnonymous(0, (nuint)(2 * bytes), NoAccess, MapPrivateAnonymous, -1, 0));
        try
        {
            Mapped(Mmap(place, (nuint)bytes, ReadWrite, MapShared | MapFixed, handle, offset));
            Mapped(Mmap(place + (nint)bytes, (nuint)bytes, ReadWrite, MapShared | MapFixed, handle, offset));
            return (byte*)place;
        }
        catch
        {
            Unmap((byte*)place, 2 * bytes);
            throw;
        }
    }

    public static void Unmap(byte* address, long bytes) => Checked(Munmap((nint)address, (nuint)bytes), "munmap");

    public static uint EffectiveUserId() => Geteuid();

    private static nint Mapped(nint address) => address != MapFailed ? address : throw Failure("mmap");

    private static int Checked(int result, string call) => result >= 0 ? result : throw Failure(call);

    private static IOException Failure(string call)
    {
        var error = new Win32Exception(Marshal.GetLastPInvokeError());
        return new IOException($"{call}: {error.Message}", error);
    }

    [LibraryImport(
        "libc", EntryPoint = "memfd_create", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MemfdCreate(string name, uint flags);

    [LibraryImport("libc", EntryPoint = "ftruncate", SetLastError = true)]
    private static partial int Ftruncate(SafeFileHandle handle, long bytes);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int Fcntl(SafeFileHandle handle, int command, int argument);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Mmap(
        nint address, nuint bytes, int protection, int flags, SafeFileHandle handle, long offset);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint MmapAnonymous(
        nint address, nuint bytes, int protection, int flags, int handle, long offset);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int Munmap(nint address, nuint bytes);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial uint Geteuid();
}
