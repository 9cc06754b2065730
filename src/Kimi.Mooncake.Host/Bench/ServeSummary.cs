using System.Globalization;
using Kimi.Mooncake.Host.Output;
using Spectre.Console;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>Prints what <c>mooncake bench serve</c> found, for people.</summary>
internal static class ServeSummary
{
    public static void Write(Terminal terminal, ServeReport report)
    {
        terminal.WriteTable(Table(report));
        terminal.Output.WriteLine(string.Join('\n', Lines(report).Concat(Compared(report.Comparison))));
    }

    private static Table Table(ServeReport report)
    {
        var table = new Table().Border(TableBorder.Simple).AddColumns("seconds", "p50", "p90", "p99", "max", "mean");
        Add("TTFT", report.TtftS);
        Add("TTFT, first turn", report.TtftFirstTurnS);
        Add("TTFT, later turns", report.TtftLaterTurnsS);
        Add("time between tokens", report.TbtS);
        Add("end to end", report.E2eS);
        return table;

        void Add(string name, Distribution values) => table.AddRow(
            [name, .. new[] { values.P50, values.P90, values.P99, values.Max, values.Mean }
                .Select(value => value.ToString("0.0000", CultureInfo.InvariantCulture))]);
    }

    private static IEnumerable<string> Lines(ServeReport report)
    {
        yield return string.Create(
            CultureInfo.InvariantCulture,
            $"{report.Conversations} conversations of {report.Turns} turns over {report.Documents} documents " +
            $"of {report.DocumentTokens:N0} tokens, in {report.DurationS:0.0} s");
        yield return string.Create(
            CultureInfo.InvariantCulture,
            $"answered {report.Answered:N0}: right {report.AnswersRight:N0}, wrong {report.AnswersWrong}; " +
            $"failed {report.Failed}, stuck {report.Stuck}");
        yield return string.Create(
            CultureInfo.InvariantCulture,
            $"{report.RequestsPerS:0.00} requests/s, {report.CompletionTokensPerS:0} tokens/s");
        yield return string.Create(
            CultureInfo.InvariantCulture,
            $"goodput {report.GoodputRequestsPerS:0.00}/s: {report.GoodputDefinition}");
        yield return string.Create(
            CultureInfo.InvariantCulture,
            $"prompt tokens {report.PromptTokens:N0}, cached {report.CachedTokens:N0}; " +
            $"computed {report.PrefillTokensReported:N0} as reported, {report.PrefillTokensCounted:N0} as counted: " +
            $"{(report.CachedTokensTrue ? "equal" : "DIFFERENT")}");
        yield return string.Create(
            CultureInfo.InvariantCulture, $"settled {report.SettledTokens:N0} generated tokens");
        yield return $"pools empty afterwards: {(report.PoolsEmpty ? "yes" : string.Join("; ", report.Left))}";
    }

    private static IEnumerable<string> Compared(ServeComparison? comparison)
    {
        if (comparison is null)
        {
            yield break;
        }

        var other = comparison.Other;
        yield return string.Create(
            CultureInfo.InvariantCulture,
            $"against {comparison.With}: {comparison.AnswersEqual} answers equal byte for byte, " +
            $"{comparison.AnswersDifferent} different");
        yield return string.Create(
            CultureInfo.InvariantCulture,
            $"there {other.RequestsPerS:0.00} requests/s, TTFT p50 {other.TtftS.P50:0.000} s, " +
            $"goodput {other.GoodputRequestsPerS:0.00}/s");
    }
}
