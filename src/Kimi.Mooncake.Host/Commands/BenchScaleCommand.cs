using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Processes;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake bench scale</c>: workers come and go while conversations are held.</summary>
internal sealed class BenchScaleCommand
{
    private readonly Terminal _terminal;
    private readonly ServePlanOptions _plan = new();
    private readonly ClusterOptions _cluster = new();
    private readonly Option<bool> _json = JsonOption.Create();
    private readonly Option<FileInfo> _config = ClusterOptions.ConfigOption();

    private BenchScaleCommand(Terminal terminal) => _terminal = terminal;

    public static Command Create(Terminal terminal)
    {
        var bench = new BenchScaleCommand(terminal);
        var command = new Command(
            "scale", "Adds two decode workers to a cluster of its own and drains a prefill worker, under load.")
        {
            bench._config, bench._json,
        };
        bench._plan.AddTo(command);
        bench._cluster.AddTo(command);
        MooncakeCommand.SetAction(command, terminal, bench.RunAsync);
        return command;
    }

    private async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        var plan = _plan.Read(parsed);
        var config = ClusterConfigReader.Read(parsed.GetValue(_config)!.FullName);
        var place = _cluster.Prepare(parsed);
        _terminal.Remark($"starting {config.Processes.Count} processes; logs in {place.Folder}");
        var cluster = await RunningCluster.StartAsync(config, place, cancellationToken).ConfigureAwait(false);
        await using var owned = cluster.ConfigureAwait(false);
        var report = await new ScaleBench(plan, cluster, _terminal).RunAsync(cancellationToken).ConfigureAwait(false);
        if (parsed.GetValue(_json))
        {
            _terminal.WriteJson(report);
        }
        else
        {
            ServeSummary.Write(_terminal, report.Serve);
            _terminal.Output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"added {string.Join(" and ", report.Added)} after {report.AddedAtS:0.0} s, " +
                $"which generated {report.TokensOfAdded:N0} tokens; " +
                $"drained {report.Drained} after {report.DrainedAtS:0.0} s"));
            _terminal.Output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"before {report.RequestsPerSBefore:0.00} requests/s, " +
                $"{report.CompletionTokensPerSBefore:0} tokens/s; " +
                $"after {report.RequestsPerSAfter:0.00} requests/s, {report.CompletionTokensPerSAfter:0} tokens/s"));
        }

        if (!report.IsGood)
        {
            throw new CommandException($"the change of the cluster was noticed; logs in {place.Folder}");
        }
    }
}
