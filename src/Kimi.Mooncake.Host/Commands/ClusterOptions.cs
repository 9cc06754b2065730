using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Processes;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Models.Needle;
using Spectre.Console;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>The options with which a command says where the processes of a cluster run.</summary>
internal sealed class ClusterOptions
{
    private const int PortMax = 64_000;

    private readonly Option<FileInfo?> _model = new("--model")
    {
        Description = "Model file of all processes; without it the built-in model is written to the folder.",
        HelpName = "FILE",
    };

    private readonly Option<DirectoryInfo?> _folder = new("--dir")
    {
        Description = "Folder for logs and files of the processes; without it a new one in the temporary folder.",
        HelpName = "DIR",
    };

    private readonly IntOption _basePort = new(
        "--base-port", "First port; each process takes two. 0 takes free ones.", defaultValue: 0, min: 0, PortMax);

    /// <summary>The option of commands that start a cluster of their own.</summary>
    public static Option<FileInfo> ConfigOption(string file = "2p4d.json") => new("--config")
    {
        Description = "File of cluster-config.",
        HelpName = "FILE",
        DefaultValueFactory = _ => new FileInfo(Path.Combine("cluster-config", file)),
    };

    public void AddTo(Command command)
    {
        command.Options.Add(_model);
        command.Options.Add(_folder);
        command.Options.Add(_basePort.Option);
    }

    /// <summary>Makes the folder, and in it the built-in model where no other is given.</summary>
    /// <exception cref="CommandException">An option cannot be used.</exception>
    public ClusterPlace Prepare(ParseResult parsed)
    {
        var folder = parsed.GetValue(_folder)?.FullName
            ?? Directory.CreateTempSubdirectory("mooncake-cluster-").FullName;
        Directory.CreateDirectory(folder);
        var model = parsed.GetValue(_model)?.FullName;
        if (model is null)
        {
            model = Path.Combine(folder, "model.gguf");
            if (!File.Exists(model))
            {
                NeedleModel.Write(model);
            }
        }

        return new ClusterPlace { Folder = folder, Model = model, BasePort = _basePort.Read(parsed) };
    }

    /// <summary>Says what runs where.</summary>
    public static void Announce(Terminal terminal, RunningCluster cluster, string folder)
    {
        var table = new Table().Border(TableBorder.Simple)
            .AddColumns("process", "role", "pid", "http", "grpc", "log");
        foreach (var process in cluster.Processes)
        {
            table.AddRow(
                process.Config.Name,
                ServeOptions.RoleSetting.Format(process.Config.Roles),
                process.ProcessId.ToString(CultureInfo.InvariantCulture),
                Address(process.Http),
                process.Config.Roles == ServeRoles.All ? "" : Address(process.Rpc),
                process.Log);
        }

        terminal.WriteTable(table);
        terminal.Output.WriteLine($"""
            the cluster answers at {Address(cluster.Gateway)}; its files are in {folder}
            """);
        if (cluster.Conductor is { } conductor)
        {
            var metrics = string.Concat(cluster.Processes
                .Where(process => process.Config.IsNode).Select(process => $" --metrics {Address(process.Http)}"));
            terminal.Output.WriteLine($"""
                Try:
                  scripts/mooncake top --conductor {Address(conductor)}
                  scripts/mooncake bench serve --server {Address(cluster.Gateway)}{metrics}
                """);
        }

        terminal.Output.Flush();
    }

    private static string Address(Uri address) => address.AbsoluteUri.TrimEnd('/');
}
