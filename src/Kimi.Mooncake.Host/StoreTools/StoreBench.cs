using System.Diagnostics;
using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>
/// Measures a store beside <c>memcpy</c> and beside plain files on the same disk, with the same bytes, in alternation.
/// </summary>
internal sealed class StoreBench
{
    private const string PlainName = "plain";
    private const string Fingerprint = "bench";
    private const string GigabytesPerSecond = "GB/s";
    private const string Memcpy = "memcpy";
    private const string GetMemory = "get from memory";
    private const string FileWrite = "plain file write";
    private const string Put = "put";
    private const string FileRead = "plain file read, cold";
    private const string GetCold = "get from disk, cold";
    private const string PutCompressed = "put, compressed";
    private const string GetCompressed = "get from disk, cold, compressed";
    private const long SpareMemoryBytes = 192L << 20;

    private readonly KvLayout _layout;
    private readonly int _rounds;
    private readonly string _folder;
    private readonly Terminal _terminal;
    private readonly byte[][] _source;
    private readonly byte[][] _destination;
    private readonly nint[] _addresses;
    private readonly BlockKey[] _keys;
    private readonly Dictionary<string, List<double>> _figures = [];
    private double _compressedShare;

    /// <param name="layout">Of the blocks.</param>
    /// <param name="bytes">How many are written and read each time; rounded down to blocks.</param>
    /// <param name="rounds">Rounds of everything.</param>
    /// <param name="folder">An empty folder on the disk.</param>
    /// <param name="terminal">Takes the progress.</param>
    public StoreBench(KvLayout layout, long bytes, int rounds, string folder, Terminal terminal)
    {
        _layout = layout;
        _rounds = rounds;
        _folder = folder;
        _terminal = terminal;
        var blocks = (int)(bytes / layout.BytesPerBlock);
        _source = Allocate(blocks);
        _destination = Allocate(blocks);
        _addresses = [.. _destination.Select(static block => Marshal.UnsafeAddrOfPinnedArrayElement(block, 0))];
        var objects = new CrashObjects(seed: 0);
        _keys = [.. Enumerable.Range(0, blocks).Select(i => objects.KeyOf(i))];
        KvNoise.Fill(_source, new Random(1));
    }

    private long Bytes => (long)_source.Length * _layout.BytesPerBlock;

    /// <summary>Runs all rounds.</summary>
    /// <param name="index">What was measured of the index beforehand.</param>
    /// <param name="cancellationToken">Ends it between two measurements.</param>
    /// <exception cref="CommandException">The store gave other bytes than were put, or none.</exception>
    public async Task<StoreBenchReport> RunAsync(IndexFigures index, CancellationToken cancellationToken)
    {
        // Memory that was never touched is slow at first, for files and store alike: a round that does not count.
        _terminal.Remark("warming up");
        await RoundAsync(0, cancellationToken).ConfigureAwait(false);
        _figures.Clear();
        for (var round = 0; round < _rounds; round++)
        {
            _terminal.Remark($"round {round + 1} of {_rounds}");
            await RoundAsync(round, cancellationToken).ConfigureAwait(false);
        }

        return new StoreBenchReport
        {
            Directory = _folder,
            Bytes = Bytes,
            BlockBytes = _layout.BytesPerBlock,
            Layout = _layout.Describe(),
            Rounds = _rounds,
            Processors = Environment.ProcessorCount,
            Rows =
            [
                .. _figures.Select(static pair => StoreBenchRow.Of(pair.Key, GigabytesPerSecond, pair.Value)),
                .. index.Rows,
            ],
            Ratios =
            [
                Ratio(GetMemory, Memcpy, 0.5),
                Ratio(Put, FileWrite, 0.7),
                Ratio(GetCold, FileRead, 0.7),
            ],
            CompressedShare = _compressedShare,
            IndexObjects = index.Objects,
            MetadataBytesPerObject = index.BytesPerObject,
        };
    }

    private async Task RoundAsync(int round, CancellationToken cancellationToken)
    {
        var file = Path.Combine(_folder, PlainName);
        var directory = Path.Combine(_folder, $"store-{round}");
        // Who is first may be at an advantage, so the order alternates.
        if (round % 2 == 0)
        {
            Measure(FileWrite, () => PlainFile.Write(file, _source));
            await PutAllAsync(Put, directory, StoreCompression.None, cancellationToken).ConfigureAwait(false);
            MeasureColdRead(file);
            await GetAllAsync(GetCold, directory, StoreCompression.None, cancellationToken).ConfigureAwait(false);
        }
        else
        {
            await PutAllAsync(Put, directory, StoreCompression.None, cancellationToken).ConfigureAwait(false);
            Measure(FileWrite, () => PlainFile.Write(file, _source));
            await GetAllAsync(GetCold, directory, StoreCompression.None, cancellationToken).ConfigureAwait(false);
            MeasureColdRead(file);
        }

        Directory.Delete(directory, recursive: true);
        File.Delete(file);
        await PutAllAsync(PutCompressed, directory, StoreCompression.Brotli, cancellationToken).ConfigureAwait(false);
        await GetAllAsync(GetCompressed, directory, StoreCompression.Brotli, cancellationToken).ConfigureAwait(false);
        Directory.Delete(directory, recursive: true);
    }

    private async Task PutAllAsync(
        string name, string directory, StoreCompression compression, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var store = Open(directory, compression);
        await using (store.ConfigureAwait(false))
        {
            var start = Stopwatch.GetTimestamp();
            for (var i = 0; i < _source.Length; i++)
            {
                if (store.Put(_keys[i], i == 0 ? default : _keys[i - 1], _source[i]) != PutResult.Stored)
                {
                    throw new CommandException($"the store refused block {i}");
                }
            }

            if (!await store.FlushAsync(cancellationToken).ConfigureAwait(false))
            {
                throw new CommandException("the disk refused what the store wrote");
            }

            Note(name, Stopwatch.GetElapsedTime(start));
            if (compression == StoreCompression.None)
            {
                MeasureMemory(store);
            }
            else
            {
                var statistics = store.Statistics();
                _compressedShare = (double)statistics.StoredBytesPut / statistics.PayloadBytesPut;
            }
        }
    }

    private void MeasureMemory(KvBlockStore store)
    {
        // Once unmeasured: the pages of the destination are there from then on, and the code is compiled.
        CopyAll();
        Measure(Memcpy, CopyAll);
        Clear();
        Measure(GetMemory, () =>
        {
            for (var i = 0; i < _keys.Length; i++)
            {
                if (!store.TryGet(_keys[i], _destination[i]))
                {
                    throw new CommandException($"block {i} is not in the store");
                }
            }
        });
        CompareAll();
        if (store.Statistics().DiskHits > 0)
        {
            throw new CommandException("blocks that were to be read from memory had left it");
        }
    }

    private void MeasureColdRead(string file)
    {
        PlainFile.DropFromMemory(_folder, PlainName);
        var buffer = _destination[0];
        Measure(FileRead, () => PlainFile.Read(file, buffer));
    }

    private async Task GetAllAsync(
        string name, string directory, StoreCompression compression, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var store = Open(directory, compression);
        await using (store.ConfigureAwait(false))
        {
            while (!store.Recovering.Done)
            {
                await Task.Delay(1, cancellationToken).ConfigureAwait(false);
            }

            Clear();
            PlainFile.DropFromMemory(directory, "blocks.*");
            Measure(name, () =>
            {
                var read = store.TryGetMany(_keys, _addresses);
                if (read != _keys.Length)
                {
                    throw new CommandException($"the store gave {read} of {_keys.Length} blocks");
                }
            });
            CompareAll();
        }
    }

    private KvBlockStore Open(string directory, StoreCompression compression) => KvBlockStore.Open(
        new KvBlockStoreOptions
        {
            Directory = directory,
            MemoryBytes = (long)(1.1 * Bytes) + SpareMemoryBytes + (8L * _layout.BytesPerBlock),
            DiskBytes = (2 * Bytes) + (1L << 30),
            SyncToDrive = true,
            Compression = compression,
        },
        _layout,
        Fingerprint);

    private void CopyAll()
    {
        for (var i = 0; i < _source.Length; i++)
        {
            _source[i].CopyTo(_destination[i], 0);
        }
    }

    private void Clear()
    {
        foreach (var block in _destination)
        {
            block.AsSpan().Clear();
        }
    }

    private void CompareAll()
    {
        for (var i = 0; i < _source.Length; i++)
        {
            if (!_source[i].AsSpan().SequenceEqual(_destination[i]))
            {
                throw new CommandException($"the store gave other bytes for block {i} than were put");
            }
        }
    }

    private void Measure(string name, Action action)
    {
        var start = Stopwatch.GetTimestamp();
        action();
        Note(name, Stopwatch.GetElapsedTime(start));
    }

    private void Note(string name, TimeSpan time)
    {
        if (!_figures.TryGetValue(name, out var values))
        {
            _figures[name] = values = [];
        }

        values.Add(Bytes / time.TotalSeconds / 1e9);
    }

    private StoreBenchRatio Ratio(string name, string to, double wanted)
    {
        var ratios = _figures[name].Zip(_figures[to], static (one, other) => one / other).Order().ToList();
        return new StoreBenchRatio($"{name} / {to}", ratios[ratios.Count / 2], wanted);
    }

    private byte[][] Allocate(int blocks) =>
        [.. Enumerable.Range(0, blocks).Select(_ => GC.AllocateArray<byte>(_layout.BytesPerBlock, pinned: true))];
}
