using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace Kimi.Mooncake.Host.Chaos;

/// <summary>
/// A folder that is a file system of its own, held in memory and small enough to be filled. Only where the system lets
/// this user mount one.
/// </summary>
internal sealed class SmallDisk : IAsyncDisposable
{
    private const string FillerName = "filler";
    private const int PieceBytes = 256 << 10;

    private readonly string _folder;

    private SmallDisk(string folder) => _folder = folder;

    /// <summary>Mounts a file system at a folder.</summary>
    /// <returns>The disk, or null and why not.</returns>
    public static async Task<(SmallDisk? Disk, string Reason)> MountAsync(string folder, long bytes)
    {
        if (!OperatingSystem.IsLinux())
        {
            return (null, "file systems are mounted on Linux only");
        }

        Directory.CreateDirectory(folder);
        var size = string.Create(CultureInfo.InvariantCulture, $"size={bytes}");
        var (code, said) = await RunAsync("mount", "-t", "tmpfs", "-o", size, "tmpfs", folder).ConfigureAwait(false);
        return code == 0 ? (new SmallDisk(folder), "") : (null, $"mount: {said}");
    }

    /// <summary>Leaves no byte free.</summary>
    public async Task FillAsync()
    {
        var piece = new byte[PieceBytes];
        var file = new FileStream(
            Path.Combine(_folder, FillerName), FileMode.Append, FileAccess.Write, FileShare.Read, bufferSize: 0);
        await using var owned = file.ConfigureAwait(false);
        for (var length = PieceBytes; length > 0; length /= 2)
        {
            try
            {
                while (true)
                {
                    await file.WriteAsync(piece.AsMemory(0, length)).ConfigureAwait(false);
                }
            }
            catch (IOException)
            {
                // A smaller piece may still find room.
                continue;
            }
        }
    }

    /// <summary>Gives back what <see cref="FillAsync"/> took.</summary>
    public void Free() => File.Delete(Path.Combine(_folder, FillerName));

    public async ValueTask DisposeAsync() => await RunAsync("umount", "--lazy", _folder).ConfigureAwait(false);

    private static async Task<(int Code, string Said)> RunAsync(string command, params string[] arguments)
    {
        var start = new ProcessStartInfo(command, arguments) { RedirectStandardError = true };
        try
        {
            using var process = Process.Start(start)!;
            var said = await process.StandardError.ReadToEndAsync().ConfigureAwait(false);
            await process.WaitForExitAsync().ConfigureAwait(false);
            return (process.ExitCode, said.Trim());
        }
        catch (Win32Exception fault)
        {
            return (-1, fault.Message);
        }
    }
}
