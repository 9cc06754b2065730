namespace Kimi.Mooncake.Store;

/// <summary>
/// Keeps a folder to one store at a time. The system lets go of it when the process ends, however it ends.
/// </summary>
internal sealed class DirectoryLock : IDisposable
{
    public const string FileName = "lock";

    private readonly FileStream _file;

    private DirectoryLock(FileStream file) => _file = file;

    /// <summary>Creates the folder where needed and takes it.</summary>
    /// <exception cref="StoreException">It cannot be created or written, or is in use.</exception>
    public static DirectoryLock Take(string directory)
    {
        try
        {
            Directory.CreateDirectory(directory);
            ProbeWrite(directory);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException
            or NotSupportedException or ArgumentException)
        {
            throw new StoreException(
                $"the store folder '{directory}' cannot be created or written: {exception.Message}", exception);
        }

        try
        {
            return new DirectoryLock(new FileStream(
                Path.Combine(directory, FileName), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new StoreException(
                $"the store folder '{directory}' is in use by another process: {exception.Message}", exception);
        }
    }

    public void Dispose() => _file.Dispose();

    // A lock file left by an earlier run may be writable where the folder no longer is.
    private static void ProbeWrite(string directory)
    {
        var path = Path.Combine(directory, $"probe.{Environment.ProcessId}");
        File.WriteAllBytes(path, [0]);
        File.Delete(path);
    }
}
