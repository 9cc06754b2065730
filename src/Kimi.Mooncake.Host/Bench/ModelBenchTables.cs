using System.Globalization;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models;
using Spectre.Console;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>A <see cref="ModelBenchReport"/> for people.</summary>
internal static class ModelBenchTables
{
    public static void Write(Terminal terminal, ModelBenchReport report)
    {
        terminal.WriteTable(About(report));
        if (report.Result.Prefill.Count > 0)
        {
            terminal.WriteTable(Prefill(report));
        }

        if (report.PrefillCurve is { } curve)
        {
            terminal.Output.WriteLine($"  {PrefillChart.Describe(curve)}");
            terminal.Output.WriteLine();
        }

        if (report.Result.Decode.Count > 0)
        {
            terminal.WriteTable(Decode(report));
        }
    }

    private static Table About(ModelBenchReport report)
    {
        var table = new Table().Border(TableBorder.Simple).HideHeaders().AddColumns("", "");
        void Row(string name, FormattableString value) => table.AddRow(name, Markup.Escape(Text(value)));

        var (result, limits) = (report.Result, report.Limits);
        var first = result.FirstTokenS;
        Row("model", $"{report.ModelId}, {ByteSize.Approximate(report.MappedBytes)} mapped: {report.Model}");
        Row("processor", $"{report.Processor}: {string.Join(' ', report.ProcessorFeatures)}");
        Row("kernels", $"{report.Kernels}, arithmetic {report.Arithmetic}, instructions {report.Instructions}");
        Row("limits", $"{Limits(limits)}");
        Row("runs", $"{report.Runs} each, passes of {report.ChunkTokens:N0} prompt tokens, seed {report.Seed}");
        Row("opened, loaded", $"{report.OpenS:0.000} s, {result.PackS:0.000} s");
        var pool = ByteSize.Approximate(result.KvPoolBytes);
        Row("KV cache", $"{report.KvType}, {result.KvBytesPerToken:N0} bytes a token, pool {pool}");
        if (report is { ResidentBytes: { } resident, AnonymousBytes: { } anonymous })
        {
            var memory = $"{ByteSize.Approximate(resident)} resident, {ByteSize.Approximate(anonymous)} without a file";
            Row("memory", $"{memory}; huge pages {report.HugePages}");
        }

        Row(
            $"first token of {Text($"{result.FirstTokenPromptTokens}")}",
            $"{first.Median * 1000:0.0} ms ({first.Min * 1000:0.0} to {first.Max * 1000:0.0})");
        return table;
    }

    private static string Limits(MachineLimits limits)
    {
        (double? Rate, string Name)[] arithmetic =
        [
            (limits.Fp32Gflops, "GFLOP/s fp32"), (limits.Bf16Gflops, "GFLOP/s bf16"), (limits.Int8Gops, "GOP/s int8"),
            (limits.AmxBf16Gflops, "GFLOP/s AMX bf16"), (limits.AmxInt8Gops, "GOP/s AMX int8"),
        ];
        var found = arithmetic
            .Where(limit => limit.Rate is not null)
            .Select(limit => Text($"{limit.Rate:0} {limit.Name}"));
        return Text($"{string.Join(", ", found)}; {limits.ReadGbPerS:0.0} GB/s read");
    }

    private static Table Prefill(ModelBenchReport report)
    {
        var table = new Table().Border(TableBorder.Simple)
            .AddColumns("prefill", "sequences", "tokens/s", "min to max", "GFLOP/s", "of fp32 peak");
        foreach (var figure in report.Result.Prefill)
        {
            Add(
                table, $"{figure.Tokens:N0}", $"{figure.Sequences}", Rate(figure.TokensPerS),
                Range(figure.TokensPerS), $"{figure.Gflops:0.0}", $"{figure.Gflops / report.Limits.Fp32Gflops:P0}");
        }

        return table;
    }

    private static Table Decode(ModelBenchReport report)
    {
        var table = new Table().Border(TableBorder.Simple).AddColumns(
            "decode at", "sequences", "tokens/s", "min to max", "weights/step", "KV/step", "GB/s", "of limit");
        foreach (var figure in report.Result.Decode)
        {
            Add(
                table, $"{figure.Depth:N0}", $"{figure.Sequences}", Rate(figure.TokensPerS),
                Range(figure.TokensPerS), $"{ByteSize.Approximate(figure.WeightBytesPerStep)}",
                $"{ByteSize.Approximate(figure.KvBytesPerStep)}", $"{figure.ReadGbPerS:0.0}",
                $"{figure.ReadGbPerS / report.Limits.ReadGbPerS:P0}");
        }

        return table;
    }

    private static FormattableString Rate(Spread rate) => $"{rate.Median:0.0}";

    private static FormattableString Range(Spread rate) => $"{rate.Min:0.0} to {rate.Max:0.0}";

    private static void Add(Table table, params FormattableString[] cells) => table.AddRow([.. cells.Select(Text)]);

    private static string Text(FormattableString value) => value.ToString(CultureInfo.InvariantCulture);
}
