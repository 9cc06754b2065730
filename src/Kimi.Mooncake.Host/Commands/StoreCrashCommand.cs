using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.StoreTools;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake store crash</c>: what a store keeps when its process is killed at any instant.</summary>
internal sealed class StoreCrashCommand
{
    private const int KillsMax = 100_000;

    private readonly Terminal _terminal;
    private readonly Option<bool> _json = JsonOption.Create();
    private readonly IntOption _kills = new("--kills", "How often the process is killed.", 20, 1, KillsMax);
    private readonly IntOption _seed = new("--seed", "Makes the load and the instants.", 1, 0, int.MaxValue);
    private readonly IntOption _lossMs = new(
        "--loss-ms", "Age from which on an object must outlive the kill.", 1_000, 0, 600_000);

    private readonly Option<bool> _verbose = new("--verbose") { Description = "Print a line for each kill." };
    private readonly Option<string?> _load = new("--load") { Hidden = true };

    private readonly Option<string?> _directory = new("--directory")
    {
        Description = "Folder that the store is made in, empty or missing; else a temporary one.",
        HelpName = "DIR",
    };

    private StoreCrashCommand(Terminal terminal) => _terminal = terminal;

    public static Command Create(Terminal terminal)
    {
        var crash = new StoreCrashCommand(terminal);
        var command = new Command(
            "crash", "Kills a process that works on a store, again and again, and looks at what is left.")
        {
            crash._kills.Option, crash._seed.Option, crash._lossMs.Option, crash._directory, crash._verbose,
            crash._load, crash._json,
        };
        MooncakeCommand.SetAction(command, terminal, crash.RunAsync);
        return command;
    }

    /// <summary>What the process that is killed is started with.</summary>
    public static IEnumerable<string> LoadArguments(string directory, int seed) =>
        ["store", "crash", "--load", directory, "--seed", seed.ToString(CultureInfo.InvariantCulture)];

    private static string Line(CrashRound round)
    {
        var examples = round.Examples.Count > 0 ? $"; objects {string.Join(' ', round.Examples)}" : "";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"kill {round.Kill} after {round.AfterMs} ms: {round.Found} objects, of {round.Expected} expected " +
            $"{round.Lost} lost, {round.CameBack} came back, {round.Wrong} wrong; answers after " +
            $"{round.RestartMs:0} ms, scanned after {round.ScanMs:0} ms, {round.DiskBytes >> 20} MiB{examples}");
    }

    private async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        var seed = _seed.Read(parsed);
        try
        {
            if (parsed.GetValue(_load) is { } folder)
            {
                // The console's own reader would block where it is asked to wait.
                using var input = new StreamReader(Console.OpenStandardInput());
                await CrashLoad.RunAsync(folder, seed, input, _terminal.Output).ConfigureAwait(false);
                return;
            }

            using var scratch = new ScratchFolder(parsed.GetValue(_directory), "mooncake-crash-");
            await RunAsync(parsed, seed, scratch.Path, cancellationToken).ConfigureAwait(false);
        }
        catch (StoreException fault)
        {
            throw new CommandException(fault.Message);
        }
    }

    private async Task RunAsync(ParseResult parsed, int seed, string directory, CancellationToken cancellationToken)
    {
        var verbose = parsed.GetValue(_verbose);
        var run = new CrashRun(directory, seed, _kills.Read(parsed), _lossMs.Read(parsed), _terminal);
        var report = await run.RunAsync(
            round =>
            {
                if (verbose)
                {
                    _terminal.Remark(Line(round));
                }
            },
            cancellationToken).ConfigureAwait(false);
        if (_terminal.IsInteractive)
        {
            _terminal.Redraw("");
        }

        if (parsed.GetValue(_json))
        {
            _terminal.WriteJson(report);
        }
        else
        {
            _terminal.Output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"""
                seed {report.Seed}: {report.Kills} kills
                objects older than {report.LossMs} ms looked for: {report.Expected}
                lost {report.Lost}, came back after removal {report.CameBack}, wrong {report.Wrong}
                answers after p50 {report.RestartMs.P50:0} ms, max {report.RestartMs.Max:0} ms
                scanned after p50 {report.ScanMs.P50:0} ms, max {report.ScanMs.Max:0} ms
                """));
        }

        if (!report.IsGood)
        {
            throw new CommandException("the store broke its promises");
        }
    }
}
