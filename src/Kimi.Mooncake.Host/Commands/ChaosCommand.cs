using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Host.Chaos;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Processes;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake chaos</c>: faults of all kinds, done to a cluster of its own while clients ask.</summary>
internal sealed class ChaosCommand
{
    private readonly Terminal _terminal;
    private readonly ClusterOptions _cluster = new();
    private readonly Option<bool> _json = JsonOption.Create();
    private readonly IntOption _seed = new("--seed", "Makes the schedule of faults.", 1, min: 0, max: int.MaxValue);
    private readonly IntOption _clients = new("--clients", "Clients that ask all the time.", 8, min: 1, max: 1024);
    private readonly IntOption _limit = new(
        "--request-seconds-max", "Time in which every request must have ended.", 90, min: 1, max: 3600);

    private readonly Option<double> _minutes = new("--minutes")
    {
        Description = "Time in which faults happen.",
        HelpName = "M",
        DefaultValueFactory = _ => 5,
    };

    private readonly Option<FileInfo> _config = ClusterOptions.ConfigOption();

    private ChaosCommand(Terminal terminal) => _terminal = terminal;

    public static Command Create(Terminal terminal)
    {
        var chaos = new ChaosCommand(terminal);
        var command = new Command(
            "chaos", "Kills, stops and disconnects the processes of a cluster of its own while clients ask.")
        {
            chaos._seed.Option, chaos._minutes, chaos._config, chaos._clients.Option, chaos._limit.Option, chaos._json,
        };
        chaos._cluster.AddTo(command);
        MooncakeCommand.SetAction(command, terminal, chaos.RunAsync);
        return command;
    }

    private async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        var minutes = parsed.GetValue(_minutes);
        if (minutes is not (> 0 and <= 24 * 60))
        {
            throw new CommandException($"--minutes {minutes}: expected more than 0 and at most 1440", ExitCode.Usage);
        }

        var plan = new ChaosPlan
        {
            Seed = _seed.Read(parsed),
            Duration = TimeSpan.FromMinutes(minutes),
            Clients = _clients.Read(parsed),
            RequestTimeMax = TimeSpan.FromSeconds(_limit.Read(parsed)),
        };
        var config = ClusterConfigReader.Read(parsed.GetValue(_config)!.FullName);
        var place = _cluster.Prepare(parsed);
        var run = new ChaosRun(plan, _terminal);
        await using var owned = run.ConfigureAwait(false);
        _terminal.Remark($"starting {config.Processes.Count} processes; logs in {place.Folder}");
        await run.StartAsync(config, place, cancellationToken).ConfigureAwait(false);
        _terminal.Remark($"seed {plan.Seed}; the schedule:");
        foreach (var fault in FaultSchedule.Create(plan.Seed, plan.Duration, run.Targets))
        {
            _terminal.Remark(ChaosRun.Describe(fault));
        }

        _terminal.Remark("it begins:");
        var report = await run.RunAsync(cancellationToken).ConfigureAwait(false);
        if (parsed.GetValue(_json))
        {
            _terminal.WriteJson(report);
        }
        else
        {
            Print(report);
        }

        if (!report.IsGood)
        {
            throw new CommandException($"the chaos found faults; logs in {place.Folder}");
        }
    }

    private static string YesOrNo(bool isSo) => isSo ? "yes" : "NO";

    private void Print(ChaosReport report)
    {
        _terminal.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"""
            seed {report.Seed}: {report.Schedule.Count} faults in {report.DurationS:0.0} s
            {report.Requests} requests: right {report.AnswersRight}, aborted by their client {report.Aborted}
            clean errors {report.CleanErrors.Values.Sum()}
            WRONG {report.AnswersWrong}, broken {report.Broken}, stuck {report.Stuck}, died {report.Died.Count}
            end to end p50 {report.E2eS.P50:0.00} s, p99 {report.E2eS.P99:0.00} s, max {report.E2eS.Max:0.00} s
            pools empty afterwards: {YesOrNo(report.PoolsEmpty)}
            a new request succeeds afterwards: {YesOrNo(report.WorksAfterwards)}
            """));
        foreach (var (kind, count) in report.CleanErrors)
        {
            _terminal.Output.WriteLine($"  {count} x {kind}");
        }

        foreach (var line in report.NotPossible.Concat(report.Left).Concat(report.Died).Concat(report.Problems))
        {
            _terminal.Output.WriteLine($"  {line}");
        }
    }
}
