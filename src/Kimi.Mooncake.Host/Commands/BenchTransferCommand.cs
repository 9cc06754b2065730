using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Transfer;
using Spectre.Console;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>
/// <c>mooncake bench transfer</c>: how fast KV moves between two processes, next to what one would use otherwise.
/// </summary>
internal sealed class BenchTransferCommand
{
    private const int FramesDefault = 1024;
    private const int FramesMax = 16 * 1024;
    private const int RoundsDefault = 5;
    private const int RoundsMax = 100;

    private readonly Terminal _terminal;
    private readonly Option<bool> _json = JsonOption.Create();

    private readonly Option<int> _frames = new("--frames")
    {
        Description = "Frames of 1 MiB in each round; both processes need as much memory.",
        HelpName = "N",
        DefaultValueFactory = _ => FramesDefault,
    };

    private readonly Option<int> _rounds = new("--rounds")
    {
        Description = "Rounds of each kind; the medians are printed.",
        HelpName = "N",
        DefaultValueFactory = _ => RoundsDefault,
    };

    private readonly Option<bool> _receiver = new("--receiver") { Hidden = true };

    private BenchTransferCommand(Terminal terminal) => _terminal = terminal;

    public static Command Create(Terminal terminal)
    {
        var bench = new BenchTransferCommand(terminal);
        var command = new Command("transfer", "Moves 1 GiB to another process in every way there is, about a minute.")
        {
            bench._frames, bench._rounds, bench._receiver, bench._json,
        };
        MooncakeCommand.SetAction(command, terminal, bench.RunAsync);
        return command;
    }

    /// <summary>What the receiving process is started with.</summary>
    public static IEnumerable<string> ReceiverArguments(int frames) =>
        ["bench", "transfer", "--receiver", "--frames", frames.ToString(CultureInfo.InvariantCulture)];

    private static int Checked(string option, int value, int max) => value >= 1 && value <= max
        ? value
        : throw new CommandException($"{option} {value}: expected 1 to {max}", ExitCode.Usage);

    private async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        var frames = Checked("--frames", parsed.GetValue(_frames), FramesMax);
        var rounds = Checked("--rounds", parsed.GetValue(_rounds), RoundsMax);
        if (parsed.GetValue(_receiver))
        {
            var slots = new TransferSlots(frames, TransferBench.FrameBytes);
            await new TransferReceiver(slots, Console.In, _terminal.Output).RunAsync(cancellationToken)
                .ConfigureAwait(false);
            return;
        }

        var report = await MeasureAsync(frames, rounds, cancellationToken).ConfigureAwait(false);
        if (parsed.GetValue(_json))
        {
            _terminal.WriteJson(report);
            return;
        }

        _terminal.WriteTable(Table(report));
        _terminal.Output.WriteLine(FormattableString.Invariant(
            $"gRPC / one stream of protobuf bytes: {report.GrpcOverNaive:0.00} (wanted: 2)"));
        _terminal.Output.WriteLine(FormattableString.Invariant(
            $"gRPC / TCP: {report.GrpcOverTcp:0.00} (wanted: 0.40)"));
        _terminal.Output.WriteLine(FormattableString.Invariant(
            $"frames over TCP / TCP: {report.FramesOverTcpOverTcp:0.00}"));
        _terminal.Output.WriteLine(FormattableString.Invariant(
            $"shared memory / memcpy: {report.SharedMemoryOverMemcpy:0.00} (wanted: 0.50)"));
    }

    private async Task<TransferReport> MeasureAsync(int frames, int rounds, CancellationToken cancellationToken)
    {
        try
        {
            return await new TransferBench(frames, rounds, _terminal.Remark).RunAsync(cancellationToken)
                .ConfigureAwait(false);
        }
        catch (TransferException failure)
        {
            throw new CommandException(failure.Message);
        }
    }

    private static Table Table(TransferReport report)
    {
        var table = new Table().Border(TableBorder.Simple).AddColumns(
            "what", "median", "slowest", "processor s/GB", "allocated/frame, sender", "receiver");
        foreach (var row in report.Rows)
        {
            table.AddRow(
                Markup.Escape(row.Name),
                FormattableString.Invariant($"{row.GigabytesPerSecond:0.00} GB/s"),
                FormattableString.Invariant($"{row.SlowestGigabytesPerSecond:0.00} GB/s"),
                FormattableString.Invariant($"{row.ProcessorSecondsPerGigabyte:0.00}"),
                FormattableString.Invariant($"{row.SentAllocatedBytesPerFrame:N0} B"),
                FormattableString.Invariant($"{row.ReceivedAllocatedBytesPerFrame:N0} B"));
        }

        return table;
    }
}
