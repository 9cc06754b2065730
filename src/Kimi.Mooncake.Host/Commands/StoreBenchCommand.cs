using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.StoreTools;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake store bench</c>: a store beside <c>memcpy</c> and plain files on the same disk.</summary>
internal sealed class StoreBenchCommand
{
    // Latent and rotated values of a token as in DeepSeek-V3 and Kimi K2; Moonlight has 27 layers.
    private const int LatentRank = 512;
    private const int RopeDimension = 64;
    private const int LayersDefault = 27;
    private const int LayersMax = 128;

    private readonly Terminal _terminal;
    private readonly Option<bool> _json = JsonOption.Create();
    private readonly IntOption _sizeMib = new("--size-mib", "Bytes of each measurement, in MiB.", 256, 1, 64 * 1024);
    private readonly IntOption _rounds = new("--rounds", "Rounds; the medians are printed.", 5, 1, 100);
    private readonly IntOption _layers = new("--layers", "Layers of the model.", LayersDefault, 1, LayersMax);
    private readonly IntOption _blockTokens = new(
        "--block-tokens", "Tokens of a block, a power of two.", KvLayout.BlockTokensDefault, KvLayout.BlockTokensMin,
        KvLayout.BlockTokensMax);

    private readonly IntOption _objects = new(
        "--objects", "Objects of the index that lookups are measured in.", 10_000_000, 1_000, 100_000_000);

    private readonly IntOption _lookupSeconds = new(
        "--lookup-seconds", "Time for which lookups are measured, twice.", 3, 1, 3600);

    private readonly Option<string?> _directory = new("--directory")
    {
        Description = "Folder on the disk to be measured, empty or missing; else a temporary one.",
        HelpName = "DIR",
    };

    private StoreBenchCommand(Terminal terminal) => _terminal = terminal;

    public static Command Create(Terminal terminal)
    {
        var bench = new StoreBenchCommand(terminal);
        var command = new Command("bench", "Measures a store beside memcpy and plain files on the same disk.")
        {
            bench._sizeMib.Option, bench._rounds.Option, bench._layers.Option, bench._blockTokens.Option,
            bench._objects.Option, bench._lookupSeconds.Option, bench._directory, bench._json,
        };
        MooncakeCommand.SetAction(command, terminal, bench.RunAsync);
        return command;
    }

    private async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        var blockTokens = _blockTokens.Read(parsed);
        if (!KvLayout.IsBlockSize(blockTokens))
        {
            throw new CommandException($"--block-tokens {blockTokens}: expected a power of two", ExitCode.Usage);
        }

        var layout = new KvLayout(
            KvElementType.F32, _layers.Read(parsed), LatentRank, RopeDimension, blockTokens);
        var bytes = (long)_sizeMib.Read(parsed) << 20;
        if (bytes < layout.BytesPerBlock)
        {
            throw new CommandException(
                $"--size-mib {bytes >> 20}: a block has {ByteSize.Approximate(layout.BytesPerBlock)}", ExitCode.Usage);
        }

        using var scratch = new ScratchFolder(parsed.GetValue(_directory), "mooncake-bench-");
        try
        {
            var lookupTime = TimeSpan.FromSeconds(_lookupSeconds.Read(parsed));
            var index = await new IndexBench(_objects.Read(parsed), lookupTime, scratch.Path, _terminal)
                .RunAsync(cancellationToken).ConfigureAwait(false);
            GC.Collect();
            var report = await new StoreBench(layout, bytes, _rounds.Read(parsed), scratch.Path, _terminal)
                .RunAsync(index, cancellationToken).ConfigureAwait(false);
            if (parsed.GetValue(_json))
            {
                _terminal.WriteJson(report);
            }
            else
            {
                Print(report);
            }
        }
        catch (StoreException fault)
        {
            throw new CommandException(fault.Message);
        }
    }

    private void Print(StoreBenchReport report)
    {
        Write($"{report.Bytes >> 20} MiB in blocks of {report.BlockBytes} bytes, {report.Layout}");
        Write($"{report.Rounds} rounds, {report.Processors} processors, in {report.Directory}");
        foreach (var row in report.Rows)
        {
            Write($"{row.Name}: {row.Median:0.00} {row.Unit} ({row.Min:0.00} to {row.Max:0.00})");
        }

        foreach (var ratio in report.Ratios)
        {
            Write($"{ratio.Name}: {ratio.Median:0.00} (wanted: {ratio.Wanted:0.00})");
        }

        Write($"compressed to {100 * report.CompressedShare:0.0} %");
        var each = report.MetadataBytesPerObject;
        Write($"metadata of {report.IndexObjects} objects: {each:0} bytes each (wanted: at most 200)");
    }

    private void Write(FormattableString text) =>
        _terminal.Output.WriteLine(text.ToString(CultureInfo.InvariantCulture));
}
