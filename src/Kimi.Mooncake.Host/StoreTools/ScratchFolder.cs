using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>
/// An empty folder for a tool to fill: one of the user's choice, which stays, or a temporary one, which does not.
/// </summary>
internal sealed class ScratchFolder : IDisposable
{
    private readonly bool _isTemporary;

    /// <param name="chosen">The user's choice; null for a temporary folder.</param>
    /// <param name="prefix">How the name of a temporary one begins.</param>
    /// <exception cref="CommandException">The chosen folder is not empty.</exception>
    public ScratchFolder(string? chosen, string prefix)
    {
        _isTemporary = chosen is null;
        Path = chosen is null
            ? Directory.CreateTempSubdirectory(prefix).FullName
            : Directory.CreateDirectory(chosen).FullName;
        if (Directory.EnumerateFileSystemEntries(Path).Any())
        {
            throw new CommandException($"--directory {chosen} is not empty", ExitCode.Usage);
        }
    }

    public string Path { get; }

    public void Dispose()
    {
        if (_isTemporary)
        {
            Directory.Delete(Path, recursive: true);
        }
    }
}
