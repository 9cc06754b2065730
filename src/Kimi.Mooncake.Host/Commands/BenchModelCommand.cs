using System.CommandLine;
using System.Diagnostics;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models;
using Kimi.Mooncake.Worker;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>
/// <c>mooncake bench model MODEL</c>: how fast a model prefills and decodes, beside the machine's limits.
/// </summary>
internal sealed class BenchModelCommand
{
    private static readonly ModelBenchOptions Defaults = new()
    {
        ChunkTokens = new EngineOptions().PrefillChunkTokens,
    };

    private readonly Terminal _terminal;
    private readonly Argument<string> _model = new("MODEL") { Description = "A GGUF file or a folder of safetensors." };

    private readonly IntListOption _prefill = new(
        "--prefill", "Tokens of the prompts whose prefill is measured.", Defaults.PrefillTokens,
        1, ModelBenchOptions.TokensMax);

    private readonly IntListOption _depths = new(
        "--decode-depths", "Tokens before those whose decode is measured.", Defaults.DecodeDepths,
        0, ModelBenchOptions.TokensMax);

    private readonly IntListOption _sequences = new(
        "--sequences", "Sequences computed at once.", Defaults.Sequences, 1, ModelBenchOptions.SequencesMax);

    private readonly IntOption _decodeTokens = new(
        "--decode-tokens", "Tokens that each sequence decodes in a run.", Defaults.DecodeTokens,
        1, ModelBenchOptions.TokensMax);

    private readonly IntOption _runs = new("--runs", "Runs of each measurement.", Defaults.Runs, 1, 1000);

    private readonly IntOption _chunk = new(
        "--chunk", "Prompt tokens of a forward pass.", Defaults.ChunkTokens, 1, ModelBenchOptions.TokensMax);

    private readonly IntOption _seed = new("--seed", "What token ids are drawn from.", Defaults.Seed, 0, int.MaxValue);
    private readonly IntOption _threads = ComputeOptions.Threads();
    private readonly Option<string> _arithmetic = ComputeOptions.Arithmetic("fast");
    private readonly Option<string> _instructions = ComputeOptions.Instructions();
    private readonly Option<string> _kvType = ComputeOptions.KvType();

    private readonly Option<string> _hugePages = ComputeOptions.Named(
        "--huge-pages", "Huge pages for KV pool, working memory and model: auto, where the system gives them, or off.",
        "auto", "off");

    private readonly IntOption _repackPercent = new(
        "--repack-percent", "Share of memory for weights repacked when loaded, as worker.repack_memory_percent.",
        new WorkerOptions().RepackMemoryPercent, 0, WorkerOptions.RepackMemoryPercentMax);

    private readonly Option<bool> _pinThreads = new("--pin-threads")
    {
        Description = "Keep each computing thread on a processor of its own (Linux).",
    };

    private readonly Option<FileInfo?> _report = new("--report")
    {
        Description = "Page (.html) or drawing (.svg) to write: cost of a token over its position in a long prefill.",
        HelpName = "FILE",
    };

    private readonly Option<bool> _json = JsonOption.Create();

    private BenchModelCommand(Terminal terminal) => _terminal = terminal;

    public static Command Create(Terminal terminal)
    {
        var bench = new BenchModelCommand(terminal);
        var command = new Command("model", "Measures prefill and decode of a model beside the machine's limits.")
        {
            bench._model, bench._prefill.Option, bench._depths.Option, bench._sequences.Option,
            bench._decodeTokens.Option, bench._runs.Option, bench._chunk.Option, bench._seed.Option,
            bench._threads.Option, bench._arithmetic, bench._instructions, bench._kvType,
            bench._hugePages, bench._repackPercent.Option, bench._pinThreads, bench._report, bench._json,
        };
        MooncakeCommand.SetAction(command, terminal, (parsed, cancellationToken) =>
        {
            bench.Run(parsed, cancellationToken);
            return Task.CompletedTask;
        });
        return command;
    }

    private static void CheckReport(string? report, ModelBenchOptions options)
    {
        var passes = (options.PrefillTokens.DefaultIfEmpty().Max() + options.ChunkTokens - 1) / options.ChunkTokens;
        if (report is not null && (passes < PrefillCurve.PassesMin || !options.Sequences.Contains(1)))
        {
            throw new CommandException(
                $"--report: the longest prefill of one sequence takes {(options.Sequences.Contains(1) ? passes : 0)} "
                + $"passes; expected at least {PrefillCurve.PassesMin}: a longer --prefill, or a smaller --chunk",
                ExitCode.Usage);
        }
    }

    private void Run(ParseResult parsed, CancellationToken cancellationToken)
    {
        var report = parsed.GetValue(_report)?.FullName;
        PrefillPage.CheckPath(report);
        var worker = new WorkerOptions
        {
            Threads = _threads.Read(parsed),
            PinThreads = parsed.GetValue(_pinThreads),
            RepackMemoryPercent = _repackPercent.Read(parsed),
            Instructions = parsed.GetValue(_instructions)!,
        };
        HugePages.AreWanted = LoadedModel.ParseAuto("--huge-pages", parsed.GetValue(_hugePages)!);
        var options = new ModelBenchOptions
        {
            PrefillTokens = _prefill.Read(parsed),
            DecodeDepths = _depths.Read(parsed),
            Sequences = _sequences.Read(parsed),
            DecodeTokens = _decodeTokens.Read(parsed),
            Runs = _runs.Read(parsed),
            ChunkTokens = _chunk.Read(parsed),
            Seed = _seed.Read(parsed),
        };
        CheckReport(report, options);
        var started = Stopwatch.GetTimestamp();
        using var model = LoadedModel.Open(new ModelOptions
        {
            Path = parsed.GetValue(_model)!,
            Arithmetic = parsed.GetValue(_arithmetic)!,
        });
        var openS = Stopwatch.GetElapsedTime(started).TotalSeconds;
        options = options with
        {
            KvType = LoadedModel.ParseKvType(parsed.GetValue(_kvType)!, model.Source, model.Arithmetic),
        };
        using var kernels = ComputeOptions.Checked(
            () => LoadedModel.CreateKernels(worker, model.Arithmetic, model.Source.LengthBytes));
        var display = new BenchDisplay(_terminal);
        var bench = ComputeOptions.Checked(() => new ModelBench(
            model.Source, kernels, options, TimeProvider.System, display, cancellationToken));
        try
        {
            var limits = Limits(worker.Threads);
            var found = ModelBenchReport.Of(model, openS, kernels, worker, options, limits, bench.Run());
            display.End();
            Print(parsed, found);
            if (report is not null && found.PrefillCurve is { } curve)
            {
                PrefillPage.Write(report, curve, found);
            }
        }
        finally
        {
            display.End();
        }
    }

    private static MachineLimits Limits(int threads)
    {
        using var machine = new MachineProbe(threads);
        return machine.Measure();
    }

    private void Print(ParseResult parsed, ModelBenchReport report)
    {
        if (parsed.GetValue(_json))
        {
            _terminal.WriteJson(report);
        }
        else
        {
            ModelBenchTables.Write(_terminal, report);
        }
    }
}
