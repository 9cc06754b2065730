using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models;
using Kimi.Mooncake.Worker;
using Spectre.Console;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>
/// <c>mooncake bench load MODEL</c>: how long a worker takes until a model can compute, its check and fingerprint among
/// it, and how much memory that adds beyond the mapped files. One pass over a few tokens is computed too, so that
/// nothing is put off until then unseen.
/// </summary>
internal sealed class BenchLoadCommand
{
    private const int Rows = 8;
    private const int BlockTokens = 64;

    private readonly Terminal _terminal;
    private readonly Argument<string> _model = new("MODEL") { Description = "A folder of safetensors or a GGUF file." };
    private readonly IntOption _threads = ComputeOptions.Threads();
    private readonly Option<bool> _json = JsonOption.Create();

    private BenchLoadCommand(Terminal terminal) => _terminal = terminal;

    public static Command Create(Terminal terminal)
    {
        var bench = new BenchLoadCommand(terminal);
        var command = new Command("load", "Measures the loading of a model and the memory that it takes.")
        {
            bench._model, bench._threads.Option, bench._json,
        };
        MooncakeCommand.SetAction(command, terminal, (parsed, _) =>
        {
            bench.Run(parsed);
            return Task.CompletedTask;
        });
        return command;
    }

    private void Run(ParseResult parsed)
    {
        var options = new WorkerOptions { Threads = _threads.Read(parsed) };
        var before = ResidentMemory.Read();
        var start = Stopwatch.GetTimestamp();
        using var opened = LoadedModel.Open(new ModelOptions { Path = parsed.GetValue(_model)! });
        var source = opened.Source;
        var openS = Stopwatch.GetElapsedTime(start).TotalSeconds;
        using var kernels = LoadedModel.CreateKernels(options, opened.Arithmetic, source.LengthBytes);
        using var model = new KimiModel(source, kernels, Rows, logitsRowsMax: 1);
        var loadS = Stopwatch.GetElapsedTime(start).TotalSeconds;
        var loaded = ResidentMemory.Read();
        using var kv = new PagedKvMemory(KimiModel.LayoutOf(source.Config, BlockTokens), 1);
        var passStart = Stopwatch.GetTimestamp();
        Pass(model, kv);
        var passS = Stopwatch.GetElapsedTime(passStart).TotalSeconds;
        var used = ResidentMemory.Read();
        var report = new LoadReport
        {
            Model = source.Path,
            ModelBytes = source.LengthBytes,
            OpenS = openS,
            LoadS = loadS,
            FirstPassS = passS,
            FirstPassTokens = Rows,
            AddedBytes = loaded?.AnonymousBytes - before?.AnonymousBytes,
            AddedAfterPassBytes = used?.AnonymousBytes - before?.AnonymousBytes,
            ResidentBytes = used?.TotalBytes,
        };
        if (parsed.GetValue(_json))
        {
            _terminal.WriteJson(report);
        }
        else
        {
            Print(report);
        }
    }

    private static void Pass(KimiModel model, PagedKvMemory kv)
    {
        var batch = new ForwardBatch();
        int[] tokens = [.. Enumerable.Range(0, Rows).Select(i => i % model.Config.VocabularySize)];
        batch.Add(tokens, 0, [0], isDecode: false, LogitsWanted.Last);
        model.Forward(batch, kv);
    }

    private void Print(LoadReport report)
    {
        var table = new Table().Border(TableBorder.Simple).HideHeaders().AddColumns("", "");
        void Row(string name, FormattableString value) =>
            table.AddRow(name, Markup.Escape(value.ToString(CultureInfo.InvariantCulture)));

        Row("model", $"{report.Model}, {ByteSize.Approximate(report.ModelBytes)}");
        Row("opened and checked", $"{report.OpenS:0.000} s");
        Row("loaded", $"{report.LoadS:0.000} s");
        Row("first pass", $"{report.FirstPassS:0.000} s for {report.FirstPassTokens} tokens");
        if (report is { AddedBytes: { } added, AddedAfterPassBytes: { } after, ResidentBytes: { } resident })
        {
            Row("memory added by loading", $"{ByteSize.Approximate(added)}, {report.Share(added):P1} of the model");
            Row("memory after the pass", $"{ByteSize.Approximate(after)}, {report.Share(after):P1} of the model");
            Row("resident in all", $"{ByteSize.Approximate(resident)}, mapped pages among them");
        }

        _terminal.WriteTable(table);
    }

    /// <summary>The result. Memory is null where the system does not tell; it counts what no file backs.</summary>
    private sealed record LoadReport
    {
        public required string Model { get; init; }

        public required long ModelBytes { get; init; }

        public required double OpenS { get; init; }

        public required double LoadS { get; init; }

        public required double FirstPassS { get; init; }

        public required int FirstPassTokens { get; init; }

        public required long? AddedBytes { get; init; }

        public required long? AddedAfterPassBytes { get; init; }

        public required long? ResidentBytes { get; init; }

        public double Share(long bytes) => (double)bytes / ModelBytes;
    }
}
