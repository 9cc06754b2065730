using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Models;
using Kimi.Mooncake.Worker;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake model logits MODEL</c>: what a model says after each position of a token sequence.</summary>
internal sealed class ModelLogitsCommand
{
    private const int ChunkDefault = 128;
    private const int ChunkMax = 4096;

    private readonly Terminal _terminal;
    private readonly Option<bool> _json = JsonOption.Create();

    private readonly Argument<string> _model = new("MODEL")
    {
        Description = "A folder of safetensors, or a GGUF file.",
    };

    private readonly Option<string> _tokens = new("--tokens")
    {
        Description = "File with token ids: a JSON array, or numbers with spaces, line ends or commas between.",
        HelpName = "FILE",
        Required = true,
    };

    private readonly Option<string> _out = new("--out")
    {
        Description = "File to write: for each position one row of little-endian singles, one for each token id.",
        HelpName = "FILE",
        Required = true,
    };

    private readonly Option<string> _kernels = ComputeOptions.Named(
        "--kernels", "cpu: what a worker computes with; reference: plain loops, slow.", "cpu", "reference");

    private readonly Option<string> _arithmetic = ComputeOptions.Arithmetic("exact");
    private readonly Option<string> _instructions = ComputeOptions.Instructions();
    private readonly Option<string> _kvType = ComputeOptions.KvType();

    private readonly IntOption _chunk = new(
        "--chunk", "Tokens of a forward pass; memory for logits grows with it.", ChunkDefault, 1, ChunkMax);

    private readonly IntOption _threads = ComputeOptions.Threads();

    private readonly Option<bool> _decode = new("--decode")
    {
        Description = "Compute one token at a time with attention in the absorbed form, as generation does.",
    };

    private ModelLogitsCommand(Terminal terminal) => _terminal = terminal;

    public static Command Create(Terminal terminal)
    {
        var logits = new ModelLogitsCommand(terminal);
        var command = new Command("logits", "Writes the logits after every position of a token sequence.")
        {
            logits._model, logits._tokens, logits._out, logits._kernels, logits._chunk.Option, logits._decode,
            logits._threads.Option, logits._arithmetic, logits._instructions, logits._kvType, logits._json,
        };
        MooncakeCommand.SetAction(command, terminal, logits.RunAsync);
        return command;
    }

    private async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        var path = parsed.GetValue(_tokens)!;
        var output = parsed.GetValue(_out)!;
        var (chunk, threads) = (_chunk.Read(parsed), _threads.Read(parsed));
        if (Directory.Exists(output))
        {
            throw new CommandException($"{output} is a folder; expected a file to write", ExitCode.Usage);
        }

        var tokens = await TokenIdFile.ReadAsync(path, cancellationToken).ConfigureAwait(false);
        var start = Stopwatch.GetTimestamp();
        using var source = ModelSource.Open(parsed.GetValue(_model)!);
        var arithmetic = LoadedModel.ParseArithmetic(parsed.GetValue(_arithmetic)!);
        using var kernels = ComputeOptions.Checked(() => LoadedModel.CreateKernels(
            new WorkerOptions
            {
                Kernels = parsed.GetValue(_kernels)!,
                Threads = threads,
                Instructions = parsed.GetValue(_instructions)!,
            },
            arithmetic,
            source.LengthBytes));
        var kvType = LoadedModel.ParseKvType(parsed.GetValue(_kvType)!, source, arithmetic);
        var display = new WorkDisplay(_terminal, "computed", "tokens");
        try
        {
            LogitsFile.Write(
                source, kernels, tokens, output, chunk, parsed.GetValue(_decode), kvType,
                new Progress(display, tokens.Length), cancellationToken);
        }
        catch (ArgumentException fault) when (fault.ParamName == "tokens")
        {
            var message = fault.Message[..fault.Message.LastIndexOf(" (Parameter", StringComparison.Ordinal)];
            throw new CommandException($"{path}: {message}");
        }
        finally
        {
            display.End();
        }

        var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        var vocabulary = source.Config.VocabularySize;
        if (parsed.GetValue(_json))
        {
            _terminal.WriteJson(new
            {
                Out = output,
                Kernels = kernels.Name,
                Rows = tokens.Length,
                Columns = vocabulary,
                Seconds = seconds,
            });
            return;
        }

        await _terminal.Output.WriteLineAsync(string.Create(
            CultureInfo.InvariantCulture,
            $"{output}: {tokens.Length:N0} rows of {vocabulary:N0} singles, {seconds:0.0} s")).ConfigureAwait(false);
    }

    private sealed class Progress(WorkDisplay display, int total) : IProgress<int>
    {
        public void Report(int value) => display.Show(value, total);
    }
}
