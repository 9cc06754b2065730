using System.Globalization;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Kernels;
using Spectre.Console;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>A <see cref="KernelReport"/> for people.</summary>
internal static class KernelTables
{
    public static void Write(Terminal terminal, KernelReport report)
    {
        var features = string.Join(' ', report.ProcessorFeatures);
        terminal.Output.WriteLine(
            $"{report.Processor}: {features}; {report.Kernels}, instructions {report.Instructions}");
        if (report.Peaks.Count > 0)
        {
            terminal.WriteTable(Peaks(report));
        }

        if (report.Measurements.Count > 0)
        {
            terminal.WriteTable(Measurements(report));
        }

        if (report.Prefill is { } prefill)
        {
            var rate = Text($"{prefill.TokensPerSecond:N0} tokens/s, {prefill.Gflops:0.0} GFLOP/s");
            var share = Text($"{report.PrefillShareOfFp32Peak:P0} of the fp32 peak");
            terminal.Output.WriteLine(Text($"built-in model, prefill of {prefill.Tokens:N0} tokens: {rate}, {share}"));
        }
    }

    private static Table Peaks(KernelReport report)
    {
        var table = new Table().Border(TableBorder.Simple).AddColumns("peak", "rate", "spread");
        foreach (var peak in report.Peaks)
        {
            table.AddRow(
                Markup.Escape(peak.Name),
                peak.Rate is { } rate ? Text($"{rate:0.0} {peak.Unit}") : "absent",
                peak.Rate is null ? "" : Text($"{peak.Spread:P0}"));
        }

        return table;
    }

    private static Table Measurements(KernelReport report)
    {
        var table = new Table().Border(TableBorder.Simple)
            .AddColumns("kernel", "time", "GFLOP/s", "GB/s", "bound by", "of roofline", "spread");
        foreach (var found in report.Measurements)
        {
            table.AddRow(
                Markup.Escape(found.Name),
                Text($"{found.Seconds * 1e6:N0} µs"),
                Text($"{found.Gflops:0.0}"),
                Text($"{found.GbPerS:0.0}"),
                found.Bound == KernelBound.Memory ? "memory" : "arithmetic",
                Text($"{found.ShareOfRoofline:P0}"),
                Text($"{found.Spread:P0}"));
        }

        return table;
    }

    private static string Text(FormattableString value) => value.ToString(CultureInfo.InvariantCulture);
}
