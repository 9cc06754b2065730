using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Serving;
using Spectre.Console;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake bench longdoc</c>: what the cache saves on one long document.</summary>
internal static class BenchLongDocumentCommand
{
    private const int TokensDefault = 32_768;

    public static Command Create(Terminal terminal)
    {
        var tokens = new Option<int>("--tokens")
        {
            Description = "Tokens of the document; question and control tokens come on top.",
            HelpName = "N",
            DefaultValueFactory = _ => TokensDefault,
        };
        var seed = new Option<int>("--seed") { Description = "Makes the document.", DefaultValueFactory = _ => 1 };
        var server = new BenchServerOptions();
        var json = JsonOption.Create();
        var command = new Command("longdoc", "Asks about a long document cold, warm, and after kill -9.")
        {
            tokens, seed, json,
        };
        server.AddTo(command);
        MooncakeCommand.SetAction(command, terminal, async (parsed, cancellationToken) =>
        {
            var count = parsed.GetValue(tokens);
            if (count < LongDocumentBench.TokensMin)
            {
                throw new CommandException(
                    $"--tokens {count}: expected at least {LongDocumentBench.TokensMin}", ExitCode.Usage);
            }

            using var folder = new TemporaryFolder();
            var prepared = server.Prepare(parsed, folder);
            var plan = new LongDocumentPlan(
                count, parsed.GetValue(seed), prepared.Model, prepared.TokensPerBlock, prepared.Arguments);
            var report = await new LongDocumentBench(plan, terminal).RunAsync(cancellationToken).ConfigureAwait(false);
            if (parsed.GetValue(json))
            {
                terminal.WriteJson(report);
            }
            else
            {
                Print(terminal, report);
            }

            var wrong = report.Requests.Append(report.Restart).Count(request => !request.IsRight);
            if (wrong > 0)
            {
                throw new CommandException($"{wrong} answers were wrong");
            }
        });
        return command;
    }

    private static void Print(Terminal terminal, LongDocumentReport report)
    {
        var table = new Table().Border(TableBorder.Simple)
            .AddColumns("request", "TTFT", "prompt tokens", "cached", "computed", "answer");
        foreach (var request in report.Requests.Append(report.Restart))
        {
            table.AddRow(
                request.Name,
                string.Create(CultureInfo.InvariantCulture, $"{request.TtftS:0.000} s"),
                request.PromptTokens.ToString("N0", CultureInfo.InvariantCulture),
                request.CachedTokens.ToString("N0", CultureInfo.InvariantCulture),
                request.PrefillTokensComputed.ToString("N0", CultureInfo.InvariantCulture),
                Markup.Escape((request.IsRight ? "right: " : "WRONG: ") + request.Answer));
        }

        terminal.WriteTable(table);
        terminal.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"""
            document {report.DocumentTokens:N0} tokens, shared whole blocks {report.SharedPrefixBlockTokens:N0} tokens
            prefill {report.PrefillTokensPerS:N0} tokens/s
            warm over cold TTFT {report.WarmOverCold:P2}, all shared blocks hit: {report.WarmHitsComplete}
            found again after kill -9 {report.RestartCachedShare:P1}
            peak memory {ByteSize.Approximate(report.PeakRssBytes)}
            answers right {report.AnswersRight} of {report.Requests.Count}, after the restart {report.Restart.IsRight}
            """));
    }
}
