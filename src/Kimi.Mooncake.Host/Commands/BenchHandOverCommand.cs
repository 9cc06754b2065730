using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Models.Needle;
using Spectre.Console;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake bench handover</c>: what sending layers while others are computed is worth.</summary>
internal static class BenchHandOverCommand
{
    private const int TokensMax = 262_144;
    private static readonly int[] LengthsDefault = [4096, 16_384, 32_768];

    public static Command Create(Terminal terminal)
    {
        var tokens = new Option<int[]>("--tokens")
        {
            Description = "Tokens of the prompts; may be given several times.",
            HelpName = "N",
            DefaultValueFactory = _ => LengthsDefault,
        };
        var rounds = new IntOption("--rounds", "Prompts of each length and way.", 3, 1, 1000);
        var chunk = new IntOption("--chunk-tokens", "Tokens of a prefill step; 0 is the engine's own.", 0, 0, 65_536);
        var threads = new IntOption("--threads", "Threads of each worker; 0 is one for each processor.", 0, 0, 1024);
        var grpc = new Option<bool>("--grpc") { Description = "Send through gRPC instead of shared memory." };
        var json = JsonOption.Create();
        var command = new Command("handover", "Hands prompts from a prefill to a decode worker on loopback.")
        {
            tokens, rounds.Option, chunk.Option, threads.Option, grpc, json,
        };
        MooncakeCommand.SetAction(command, terminal, async (parsed, cancellationToken) =>
        {
            using var folder = new TemporaryFolder();
            NeedleModel.Write(folder.Model);
            var lengths = parsed.GetValue(tokens)!;
            if (lengths.Any(length => length is < 1 or > TokensMax))
            {
                throw new CommandException($"--tokens: expected 1 to {TokensMax}", ExitCode.Usage);
            }

            var plan = new HandOverPlan(
                folder.Model, lengths, rounds.Read(parsed), chunk.Read(parsed), threads.Read(parsed),
                !parsed.GetValue(grpc));
            var report = await new HandOverBench(plan, terminal).RunAsync(cancellationToken).ConfigureAwait(false);
            if (parsed.GetValue(json))
            {
                terminal.WriteJson(report);
            }
            else
            {
                Print(terminal, report);
            }
        });
        return command;
    }

    private static void Print(Terminal terminal, HandOverReport report)
    {
        var table = new Table().Border(TableBorder.Simple).AddColumns(
            "prompt tokens", "KV", "prefill", "prefill's end to first token, overlapped", "sent afterwards", "share");
        foreach (var figures in report.Lengths)
        {
            table.AddRow(
                figures.PromptTokens.ToString("N0", CultureInfo.InvariantCulture),
                string.Create(CultureInfo.InvariantCulture, $"{figures.Bytes / 1048576.0:0.0} MiB"),
                string.Create(CultureInfo.InvariantCulture, $"{figures.PrefillS:0.000} s"),
                string.Create(CultureInfo.InvariantCulture, $"{1e3 * figures.OverlappedS:0.00} ms"),
                string.Create(CultureInfo.InvariantCulture, $"{1e3 * figures.AfterwardsS:0.00} ms"),
                string.Create(CultureInfo.InvariantCulture, $"{figures.Share:P1}"));
        }

        terminal.WriteTable(table);
        terminal.Output.WriteLine(report.SharedMemory ? "through shared memory" : "through gRPC");
    }
}
