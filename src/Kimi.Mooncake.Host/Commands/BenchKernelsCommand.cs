using System.CommandLine;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Models;
using Kimi.Mooncake.Models.Needle;
using Kimi.Mooncake.Worker;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>
/// <c>mooncake bench kernels</c>: the machine's peaks, each kernel beside its own roofline, and what the whole prefill
/// of the built-in model makes of the fp32 peak.
/// </summary>
internal sealed class BenchKernelsCommand
{
    private const int PrefillTokensDefault = 32_768;
    private const int PrefillTokensMax = 262_144;

    private static readonly int ChunkTokens = new EngineOptions().PrefillChunkTokens;

    private readonly Terminal _terminal;
    private readonly Option<bool> _json = JsonOption.Create();

    private readonly IntOption _threads = ComputeOptions.Threads();
    private readonly Option<string> _instructions = ComputeOptions.Instructions();

    private readonly Option<string> _filter = new("--filter")
    {
        Description = "Measure only kernels with this in their names, such as 'Q8_0, 1 x' or 'kimi-k2'.",
        HelpName = "TEXT",
        DefaultValueFactory = _ => "",
    };

    private readonly IntOption _prefillTokens = new(
        "--prefill-tokens", "Tokens of the built-in model's prefill; 0 leaves it out.", PrefillTokensDefault,
        0, PrefillTokensMax);

    private BenchKernelsCommand(Terminal terminal) => _terminal = terminal;

    public static Command Create(Terminal terminal)
    {
        var bench = new BenchKernelsCommand(terminal);
        var command = new Command("kernels", "Measures peaks, kernels beside their rooflines, and a whole prefill.")
        {
            bench._threads.Option, bench._instructions, bench._filter, bench._prefillTokens.Option, bench._json,
        };
        MooncakeCommand.SetAction(command, terminal, (parsed, cancellationToken) =>
        {
            bench.Run(parsed, cancellationToken);
            return Task.CompletedTask;
        });
        return command;
    }

    private void Run(ParseResult parsed, CancellationToken cancellationToken)
    {
        var options = new CpuOptions
        {
            ThreadCount = _threads.Read(parsed),
            Path = LoadedModel.ParseInstructions(parsed.GetValue(_instructions)!),
        };
        var (tokens, filter) = (_prefillTokens.Read(parsed), parsed.GetValue(_filter)!);
        using var probe = ComputeOptions.Checked(() => new KernelProbe(options));
        var cases = probe.Cases().Where(found => Matches(found.Name, filter)).ToList();
        var prefillName = FormattableString.Invariant($"prefill, built-in model, {tokens} tokens");
        var isPrefill = tokens > 0 && Matches(prefillName, filter);
        if (cases.Count == 0 && !isPrefill)
        {
            throw new CommandException($"--filter {filter}: no kernel has this in its name", ExitCode.Usage);
        }

        var report = new KernelReport
        {
            Processor = ProcessorFeatures.ProcessorName,
            ProcessorFeatures = ProcessorFeatures.Names,
            Kernels = probe.KernelsName,
            Instructions = probe.Path,
            Peaks = filter.Length == 0 ? Peaks(options, cancellationToken) : [],
            Limits = probe.Limits,
            Measurements = Measurements(cases, cancellationToken),
            Prefill = isPrefill ? MeasurePrefill(options.ThreadCount, tokens, cancellationToken) : null,
        };
        if (parsed.GetValue(_json))
        {
            _terminal.WriteJson(report);
        }
        else
        {
            KernelTables.Write(_terminal, report);
        }
    }

    private static bool Matches(string name, string filter) =>
        name.Contains(filter, StringComparison.OrdinalIgnoreCase);

    private List<MachinePeak> Peaks(CpuOptions options, CancellationToken cancellationToken)
    {
        using var machine = new MachineProbe(options.ThreadCount);
        var peaks = new List<MachinePeak>();
        foreach (var peak in machine.MeasureAll())
        {
            cancellationToken.ThrowIfCancellationRequested();
            _terminal.Remark(peak.Name);
            peaks.Add(peak);
        }

        return peaks;
    }

    private List<KernelMeasurement> Measurements(List<KernelCase> cases, CancellationToken cancellationToken)
    {
        var display = new WorkDisplay(_terminal, "measured", "kernels");
        var found = new List<KernelMeasurement>();
        try
        {
            foreach (var one in cases)
            {
                cancellationToken.ThrowIfCancellationRequested();
                found.Add(one.Measure());
                display.Show(found.Count, cases.Count);
            }
        }
        finally
        {
            display.End();
        }

        return found;
    }

    private PrefillMeasurement MeasurePrefill(int threads, int tokens, CancellationToken cancellationToken)
    {
        using var folder = new TemporaryFolder();
        NeedleModel.Write(folder.Model);
        using var source = ModelSource.Open(folder.Model);
        using var kernels = new CpuKernels(threads);
        return PrefillProbe.Measure(
            source, kernels, tokens, ChunkTokens, TimeProvider.System,
            new Progress(_terminal, tokens, cancellationToken));
    }

    private sealed class Progress(Terminal terminal, int tokens, CancellationToken cancellationToken) : IProgress<int>
    {
        public void Report(int value)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (value == tokens || value % (8 * ChunkTokens) == 0)
            {
                terminal.Remark(FormattableString.Invariant($"prefill {value:N0}/{tokens:N0} tokens"));
            }
        }
    }
}
