using System.Diagnostics;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store.Tests;

/// <summary>Room on disk is freed by moving what lives.</summary>
public sealed class CompactionTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public async Task Compact_MostBlocksRemoved_FreesFilesAndKeepsTheRest()
    {
        await using (var store = TestBlocks.OpenSmall(_folder.Path))
        {
            await FillAsync(store);
            var before = store.Statistics();
            Assert.That(before.DeadBytes, Is.GreaterThan(before.LiveBytes));
            var steps = new Steps();

            var done = await store.CompactAsync(steps);

            Assert.That(done.BytesNow, Is.LessThan(done.BytesBefore / 2));
            Assert.That(steps.All, Has.Count.GreaterThan(1));
            var after = store.Statistics();
            Assert.That(after.Moved, Is.GreaterThan(0));
            Assert.That(after, Has.Property("Blocks").EqualTo(before.Blocks).And.Property("Damaged").Zero);
            Assert.That(Files(), Is.LessThanOrEqualTo(done.BytesNow + (256 * after.Blocks) + 4_096));
            CheckBlocks(store);
            store.Check();
        }

        await using var again = TestBlocks.OpenSmall(_folder.Path);
        CheckBlocks(again);
        Assert.That(again.Statistics().Damaged, Is.Zero);
    }

    [Test]
    public async Task Compact_WhileReadingAndPutting_EveryReadIsRight()
    {
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        await FillAsync(store);
        using var stop = new CancellationTokenSource();
        var reading = Task.Run(() =>
        {
            var reads = 0;
            for (var number = 0; !stop.IsCancellationRequested; number = (number + 10) % 500)
            {
                Assert.That(TestBlocks.Has(store, number), $"block {number}");
                reads++;
            }

            return reads;
        });

        for (var round = 0; round < 5; round++)
        {
            for (var number = 0; number < 40; number++)
            {
                TestBlocks.Put(store, 10_000 + (round * 100) + number);
                store.Remove(TestBlocks.Key(10_000 + (round * 100) + number));
            }

            await store.CompactAsync();
        }

        await stop.CancelAsync();
        Assert.That(await reading, Is.GreaterThan(0));
        Assert.That(store.Statistics().Damaged, Is.Zero);
        store.Check();
    }

    [Test]
    public async Task Compact_DamagedBlock_IsCountedAndNotMoved()
    {
        await using (var store = TestBlocks.OpenSmall(_folder.Path))
        {
            await FillAsync(store);
        }

        foreach (var path in Directory.GetFiles(_folder.Path, "blocks.0"))
        {
            var bytes = await File.ReadAllBytesAsync(path);
            bytes[1_000] ^= 1;
            await File.WriteAllBytesAsync(path, bytes);
        }

        await using var again = TestBlocks.OpenSmall(_folder.Path);
        await again.CompactAsync();

        Assert.That(again.Statistics().Damaged, Is.EqualTo(1));
        Assert.That(TestBlocks.Has(again, 0), Is.False);
        Assert.That(TestBlocks.Has(again, 10));
        again.Check();
    }

    [Test]
    public async Task Put_ManyTimesTheDisk_StaysWithinTheLimitAndKeepsHardPins()
    {
        var options = TestBlocks.SmallOptions(_folder.Path) with { FlushIntervalMs = 5 };
        await using var store = TestBlocks.Open(options);
        var pinned = BlockAttributes.Default with { Retention = new BlockRetention(PinKind.Hard) };
        for (var number = 0; number < 6_000; number++)
        {
            // One in twenty stays, so that every segment has some that live when its turn comes.
            Assert.That(
                TestBlocks.Put(store, number, number % 20 == 0 && number < 4_000 ? pinned : null),
                Is.EqualTo(PutResult.Stored), $"block {number}");
            if (number % 500 == 0)
            {
                Assert.That(Files(), Is.LessThanOrEqualTo(options.DiskBytes + options.SegmentBytes));
            }
        }

        Assert.That(store.Statistics(), Has.Property("Moved").GreaterThan(0).And.Property("Damaged").Zero);
        for (var number = 0; number < 4_000; number += 20)
        {
            Assert.That(TestBlocks.Has(store, number), $"block {number}");
        }

        store.Check();
    }

    [Test]
    public async Task Contains_ManyKeysWhileBlocksAreEvicted_DoesNotWaitForIt()
    {
        var options = TestBlocks.SmallOptions(_folder.Path) with { FlushIntervalMs = 5 };
        await using var store = TestBlocks.Open(options);
        BlockKey[] keys = [.. Enumerable.Range(0, 10_000).Select(TestBlocks.Key)];
        var found = new bool[keys.Length];
        using var stop = new CancellationTokenSource();
        var putting = Task.Run(() =>
        {
            for (var number = 0; !stop.IsCancellationRequested; number++)
            {
                TestBlocks.Put(store, number);
            }
        });
        while (store.Statistics().Evicted == 0)
        {
            store.Contains(keys, found);
        }

        var times = new List<double>();
        for (var i = 0; i < 200; i++)
        {
            var started = Stopwatch.GetTimestamp();
            store.Contains(keys, found);
            times.Add(Stopwatch.GetElapsedTime(started).TotalMilliseconds);
        }

        await stop.CancelAsync();
        await putting;
        times.Sort();
        await TestContext.Out.WriteLineAsync($"10,000 keys: median {times[100]:F2} ms, P99 {times[197]:F2} ms");
        Assert.That(times[100], Is.LessThan(50));
    }

    // Of 500 blocks one in ten stays.
    private static async Task FillAsync(KvBlockStore store)
    {
        for (var number = 0; number < 500; number++)
        {
            Assert.That(TestBlocks.Put(store, number), Is.EqualTo(PutResult.Stored));
        }

        await store.FlushAsync();
        for (var number = 0; number < 500; number++)
        {
            Assert.That(number % 10 == 0 || store.Remove(TestBlocks.Key(number)));
        }
    }

    private static void CheckBlocks(KvBlockStore store)
    {
        for (var number = 0; number < 500; number++)
        {
            Assert.That(TestBlocks.Has(store, number), Is.EqualTo(number % 10 == 0), $"block {number}");
        }
    }

    private long Files() => new DirectoryInfo(_folder.Path).EnumerateFiles().Sum(static file => BytesOf(file));

    private static long BytesOf(FileInfo file)
    {
        try
        {
            return file.Length;
        }
        catch (FileNotFoundException)
        {
            // Deleted since it was listed.
            return 0;
        }
    }

    private sealed class Steps : IProgress<StoreCompaction>
    {
        public List<StoreCompaction> All { get; } = [];

        public void Report(StoreCompaction value) => All.Add(value);
    }
}
