using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Kernels;
using Spectre.Console;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake bench kernels</c>: the machine's peaks, and what the kernels make of them.</summary>
internal static class BenchKernelsCommand
{
    public static Command Create(Terminal terminal)
    {
        var threads = new Option<int>("--threads")
        {
            Description = "Threads; 0 is one for each core.",
            HelpName = "N",
        };
        var json = JsonOption.Create();
        var command = new Command("kernels", "Measures peaks and kernels, some 20 seconds.") { threads, json };
        MooncakeCommand.SetAction(command, terminal, (parsed, cancellationToken) =>
        {
            var count = parsed.GetValue(threads);
            if (count is < 0 or > 1024)
            {
                throw new CommandException($"--threads {count}: expected 0 to 1024", ExitCode.Usage);
            }

            using var probe = new KernelProbe(count);
            var measurements = new List<KernelMeasurement>();
            foreach (var measurement in probe.MeasureAll())
            {
                cancellationToken.ThrowIfCancellationRequested();
                terminal.Remark(measurement.Name);
                measurements.Add(measurement);
            }

            if (parsed.GetValue(json))
            {
                terminal.WriteJson(new { Kernels = probe.KernelsName, Measurements = measurements });
            }
            else
            {
                terminal.WriteTable(Table(measurements));
            }

            return Task.CompletedTask;
        });
        return command;
    }

    private static Table Table(IEnumerable<KernelMeasurement> measurements)
    {
        var table = new Table().Border(TableBorder.Simple).AddColumns("what", "rate", "of peak", "time", "spread");
        foreach (var found in measurements)
        {
            table.AddRow(
                Markup.Escape(found.Name),
                string.Create(CultureInfo.InvariantCulture, $"{found.Rate:0.0} {found.Unit}"),
                found.ShareOfPeak is { } share ? share.ToString("P0", CultureInfo.InvariantCulture) : "",
                string.Create(CultureInfo.InvariantCulture, $"{found.Seconds * 1000:0.000} ms"),
                found.Spread.ToString("P0", CultureInfo.InvariantCulture));
        }

        return table;
    }
}
