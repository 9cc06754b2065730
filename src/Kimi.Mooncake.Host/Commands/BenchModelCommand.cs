using System.CommandLine;
using System.Diagnostics;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Models;
using Kimi.Mooncake.Worker;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake bench model FILE</c>: how fast a model prefills and decodes, beside the machine's limits.</summary>
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
    private readonly IntOption _threads = new("--threads", "Threads; 0 is one for each core.", 0, 0, 1024);

    private readonly NamedOption<CpuArithmetic> _arithmetic = new(
        "--arithmetic", "exact: single precision. fast: what the weights' types have the best instructions for.",
        ("fast", CpuArithmetic.Fast), ("exact", CpuArithmetic.Exact));

    private readonly NamedOption<InstructionPath> _instructions = new(
        "--instructions", "Instructions of fast arithmetic; auto: the best that the machine has.",
        ("auto", InstructionPaths.Best), ("portable", InstructionPath.Portable), ("avx-vnni", InstructionPath.AvxVnni),
        ("avx512", InstructionPath.Avx512), ("amx", InstructionPath.Amx));

    private readonly Option<bool> _json = JsonOption.Create();

    private BenchModelCommand(Terminal terminal) => _terminal = terminal;

    public static Command Create(Terminal terminal)
    {
        var bench = new BenchModelCommand(terminal);
        var command = new Command("model", "Measures prefill and decode of a model beside the machine's limits.")
        {
            bench._model, bench._prefill.Option, bench._depths.Option, bench._sequences.Option,
            bench._decodeTokens.Option, bench._runs.Option, bench._chunk.Option, bench._seed.Option,
            bench._threads.Option, bench._arithmetic.Option, bench._instructions.Option, bench._json,
        };
        MooncakeCommand.SetAction(command, terminal, (parsed, cancellationToken) =>
        {
            bench.Run(parsed, cancellationToken);
            return Task.CompletedTask;
        });
        return command;
    }

    private static T Checked<T>(Func<T> create)
    {
        try
        {
            return create();
        }
        catch (Exception fault) when (fault is ArgumentException or PlatformNotSupportedException)
        {
            throw new CommandException(fault.Message, ExitCode.Usage);
        }
    }

    private void Run(ParseResult parsed, CancellationToken cancellationToken)
    {
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
        var cpu = new CpuOptions
        {
            ThreadCount = _threads.Read(parsed),
            Arithmetic = _arithmetic.Read(parsed),
            Path = _instructions.Read(parsed),
        };
        var started = Stopwatch.GetTimestamp();
        using var model = LoadedModel.Open(new ModelOptions { Path = parsed.GetValue(_model)! });
        var openS = Stopwatch.GetElapsedTime(started).TotalSeconds;
        using var kernels = Checked(() => new CpuKernels(cpu.ForModel(model.Source.LengthBytes)));
        var display = new BenchDisplay(_terminal);
        var bench = Checked(() => new ModelBench(
            model.Source, kernels, options, TimeProvider.System, display, cancellationToken));
        MachineLimits limits;
        using (var machine = new MachineProbe(cpu.ThreadCount))
        {
            limits = machine.Measure();
        }

        try
        {
            var result = bench.Run();
            Print(parsed, ModelBenchReport.Of(model, openS, kernels, options, limits, result));
        }
        finally
        {
            display.End();
        }
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
