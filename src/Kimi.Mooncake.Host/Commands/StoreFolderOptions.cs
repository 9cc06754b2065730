using System.Collections;
using System.CommandLine;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>Which stores a command is about.</summary>
internal sealed class StoreFolderOptions
{
    private readonly Option<string?> _directory = new("--directory")
    {
        Description = "Folder of a store, or of stores of several models; else the setting store.directory.",
        HelpName = "DIR",
    };

    private readonly Option<FileInfo?> _config = new("--config")
    {
        Description = "JSON file with settings.",
        HelpName = "FILE",
    };

    public void AddTo(Command command)
    {
        command.Options.Add(_directory);
        command.Options.Add(_config);
    }

    /// <summary>The settings of the store, with the folder that was asked for.</summary>
    /// <exception cref="SettingException">A setting is unknown or unacceptable.</exception>
    /// <exception cref="CommandException">No folder is named.</exception>
    public KvBlockStoreOptions Read(ParseResult parsed, IDictionary environment)
    {
        var file = parsed.GetValue(_config);
        var options = ResolvedSettings.Resolve(
            SettingSection.All,
            (file is null ? [] : SettingSources.FromFile(file.FullName))
                .Concat(SettingSources.FromEnvironment(environment))).Bind<KvBlockStoreOptions>();
        var directory = parsed.GetValue(_directory) ?? options.Directory;
        return directory.Length > 0
            ? options with { Directory = directory }
            : throw new CommandException(
                "no folder is named; give --directory, or the setting store.directory by --config or environment",
                ExitCode.Usage);
    }

    /// <summary>The stores in the folder, at least one.</summary>
    /// <exception cref="CommandException">There is none.</exception>
    public static IReadOnlyList<string> Find(KvBlockStoreOptions options)
    {
        var folders = StoreFolders.Find(options.Directory);
        return folders.Count > 0
            ? folders
            : throw new CommandException(
                $"'{options.Directory}' holds no store; expected a folder with a file 'format', or folders with one");
    }
}
