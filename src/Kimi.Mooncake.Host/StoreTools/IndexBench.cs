using System.Diagnostics;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.KvCache.Retention;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>What was measured of the index.</summary>
internal sealed record IndexFigures(int Objects, double BytesPerObject, IReadOnlyList<StoreBenchRow> Rows);

/// <summary>
/// Looks up 10,000 keys at a time while another thread evicts: in the index of many objects alone, under a lock as the
/// store's, and in a store that is full.
/// </summary>
internal sealed class IndexBench(int objects, TimeSpan measuringTime, string folder, Terminal terminal)
{
    private const int LookupKeys = 10_000;
    private const int LookupStep = 1_024;
    private const int SequenceBlocks = 64;
    private const int StoreBlocks = 40_000;
    private const long StoreDiskBytes = 32L << 20;
    private const string Milliseconds = "ms";

    private static readonly KvLayout SmallLayout = new(KvElementType.F32, 1, 4, 4, KvLayout.BlockTokensMin);

    private readonly CrashObjects _objects = new(seed: 1);

    public async Task<IndexFigures> RunAsync(CancellationToken cancellationToken)
    {
        var inStore = await MeasureStoreAsync(cancellationToken).ConfigureAwait(false);
        terminal.Remark($"index of {objects} objects");
        var index = Build(cancellationToken);
        var bytes = (double)index.MetadataBytes / objects;
        var alone = await MeasureIndexAsync(index, cancellationToken).ConfigureAwait(false);
        return new IndexFigures(
            objects,
            bytes,
            [
                .. Rows($"lookup of {LookupKeys} keys in {objects} objects, evicting", alone),
                .. Rows($"lookup of {LookupKeys} keys in a full store, putting", inStore),
            ]);
    }

    private static IEnumerable<StoreBenchRow> Rows(string name, List<double> times)
    {
        var distribution = Distribution.Of(times);
        yield return new StoreBenchRow($"{name}, P50", Milliseconds, distribution.P50, times.Min(), distribution.Max);
        yield return new StoreBenchRow($"{name}, P99", Milliseconds, distribution.P99, times.Min(), distribution.Max);
    }

    private RetentionIndex<StorePart> Build(CancellationToken cancellationToken)
    {
        var index = new RetentionIndex<StorePart>(new RetentionOptions
        {
            Policy = EvictionPolicyKind.Cost,
            CapacityBytes = objects,
        });
        var tenant = index.Tenant("");
        for (var i = 0; i < objects; i++)
        {
            if (i % LookupKeys == 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
            }

            index.Add(_objects.KeyOf(i), ParentOf(i), 1, tenant, default, 0);
        }

        return index;
    }

    private BlockKey ParentOf(long number) => number % SequenceBlocks == 0 ? default : _objects.KeyOf(number - 1);

    private async Task<List<double>> MeasureIndexAsync(
        RetentionIndex<StorePart> index, CancellationToken cancellationToken)
    {
        var gate = new Lock();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var evicting = Task.Run(
            () =>
            {
                for (var next = (long)objects; !stop.IsCancellationRequested; next++)
                {
                    var (key, parent) = (_objects.KeyOf(next), ParentOf(next));
                    lock (gate)
                    {
                        if (index.TryPickVictim(0, out var victim))
                        {
                            index.Evict(victim);
                        }

                        index.Add(key, parent, 1, 0, default, 0);
                    }
                }
            },
            CancellationToken.None);
        var ids = new int[LookupKeys];
        var times = Measure(
            keys =>
            {
                for (var at = 0; at < keys.Length; at += LookupStep)
                {
                    var part = keys.AsSpan(at, Math.Min(LookupStep, keys.Length - at));
                    lock (gate)
                    {
                        index.FindAll(part, ids.AsSpan(at, part.Length), 0);
                    }
                }
            },
            objects,
            cancellationToken);
        await stop.CancelAsync().ConfigureAwait(false);
        await evicting.ConfigureAwait(false);
        return times;
    }

    private async Task<List<double>> MeasureStoreAsync(CancellationToken cancellationToken)
    {
        var store = KvBlockStore.Open(
            new KvBlockStoreOptions
            {
                Directory = Path.Combine(folder, "small"),
                MemoryBytes = StoreDiskBytes,
                DiskBytes = StoreDiskBytes,
                SegmentBytes = 1L << 20,
            },
            SmallLayout,
            "bench");
        await using (store.ConfigureAwait(false))
        {
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var next = PutSome(store, 0, StoreBlocks, CancellationToken.None);
            var putting = Task.Run(() => PutSome(store, next, long.MaxValue, stop.Token), CancellationToken.None);
            var found = new bool[LookupKeys];
            var times = Measure(keys => store.Contains(keys, found), StoreBlocks, cancellationToken);
            await stop.CancelAsync().ConfigureAwait(false);
            await putting.ConfigureAwait(false);
            return store.Statistics().Evicted > 0
                ? times
                : throw new CommandException("the store evicted nothing while it was measured");
        }
    }

    private long PutSome(KvBlockStore store, long first, long count, CancellationToken stop)
    {
        var block = new byte[SmallLayout.BytesPerBlock];
        var next = first;
        for (; next - first < count && !stop.IsCancellationRequested; next++)
        {
            store.Put(_objects.KeyOf(next), ParentOf(next), block);
        }

        return next;
    }

    private List<double> Measure(Action<BlockKey[]> look, int among, CancellationToken cancellationToken)
    {
        var random = new Random(1);
        var keys = new BlockKey[LookupKeys];
        var times = new List<double>();
        var begin = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(begin) < measuringTime)
        {
            cancellationToken.ThrowIfCancellationRequested();
            for (var i = 0; i < keys.Length; i++)
            {
                keys[i] = _objects.KeyOf(random.Next(among));
            }

            var start = Stopwatch.GetTimestamp();
            look(keys);
            times.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }

        return times;
    }

    /// <summary>As large as what the store keeps per block beside the index's own part.</summary>
    private readonly record struct StorePart(long Address, int Slot, int Next, int Previous, int Marks);
}
