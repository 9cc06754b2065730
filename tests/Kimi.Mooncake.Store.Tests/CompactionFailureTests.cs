using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store.Tests;

/// <summary>Moves and writes that are cut short lose nothing and do not stand in the way of later ones.</summary>
public sealed class CompactionFailureTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public async Task Compact_CancelledBetweenTwoBlocks_CanBeDoneLater()
    {
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        for (var number = 0; number < 500; number++)
        {
            Assert.That(TestBlocks.Put(store, number), Is.EqualTo(PutResult.Stored));
        }

        await store.FlushAsync();
        for (var number = 0; number < 500; number++)
        {
            Assert.That(number % 10 == 0 || store.Remove(TestBlocks.Key(number)));
        }

        using var cancel = new CancellationTokenSource();
        store.Device.BeforeRead = _ => cancel.Cancel();
        await Assert.CatchAsync<OperationCanceledException>(
            async () => await store.CompactAsync(null, cancel.Token));
        store.Device.BeforeRead = null;

        var done = await store.CompactAsync();

        Assert.That(done.BytesNow, Is.LessThan(done.BytesBefore / 2));
        Assert.That(Enumerable.Range(0, 50).All(number => TestBlocks.Has(store, number * 10)));
        store.Check();
    }

    [Test]
    public async Task Compact_InTheBackgroundWhileTheDiskRefuses_PausesBetweenAttempts()
    {
        var options = TestBlocks.SmallOptions(_folder.Path) with { RetryAfterErrorMs = 600_000, FlushIntervalMs = 5 };
        await using var store = TestBlocks.Open(options);
        using var tried = new ManualResetEventSlim();
        store.Device.BeforeRead = _ => tried.Set();
        store.Device.BeforeWrite = _ =>
        {
            if (tried.IsSet)
            {
                throw new IOException("No space left on device");
            }
        };
        var number = 0;
        var pinned = BlockAttributes.Default with { Retention = new BlockRetention(PinKind.Hard) };
        while (TestBlocks.Put(store, number, number % 20 == 0 ? pinned : null) == PutResult.Stored)
        {
            Assert.That(++number, Is.LessThan(100_000), "puts end when the disk refuses");
        }

        Assert.That(tried.IsSet, "a segment is read to be moved");
        var before = store.Statistics().FlushFailures;

        var spins = SpinWait.SpinUntil(
            () => store.Statistics().FlushFailures > before + 20, TimeSpan.FromSeconds(1));

        Assert.That(spins, Is.False);
        store.Check();
    }

    [Test]
    public async Task Put_ManyThreadsWhileTheDiskRefusesNowAndThen_KeepsNoBlockThatIsNotThere([Range(0, 0)] int seed)
    {
        const int threads = 3;
        const int blocks = 300;
        var random = new Random(seed);
        var options = TestBlocks.SmallOptions(_folder.Path) with
        {
            RetryAfterErrorMs = 0,
            FlushIntervalMs = 1,
            PutWaitMsMax = 10,
        };
        await using var store = TestBlocks.Open(options);
        store.Device.BeforeWrite = _ =>
        {
            lock (random)
            {
                if (random.Next(2) == 0)
                {
                    throw new IOException("Input/output error");
                }
            }
        };

        await Task.WhenAll(Enumerable.Range(0, threads).Select(thread => Task.Run(() =>
        {
            for (var number = 0; number < blocks; number++)
            {
                TestBlocks.Put(store, (number * threads) + thread);
            }
        })));

        store.Device.BeforeWrite = null;
        await store.FlushAsync();
        Assert.That(store.Statistics().WriteFailures, Is.GreaterThan(0), $"seed {seed}");
        var found = Enumerable.Range(0, threads * blocks).Count(number => TestBlocks.Has(store, number));
        Assert.That(store.Statistics().Damaged, Is.Zero, $"seed {seed}: {found} blocks");
        store.Check();
    }
}
