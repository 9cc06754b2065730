namespace Kimi.Mooncake.Store.Tests;

public sealed class DiskFailureTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public async Task Flush_DiskRefusesWrites_DropsThoseBlocksAndGoesOn()
    {
        var options = TestBlocks.SmallOptions(_folder.Path) with { RetryAfterErrorMs = 0 };
        await using var store = TestBlocks.Open(options);
        TestBlocks.Put(store, 1);
        Assert.That(await store.FlushAsync());
        store.Device.BeforeWrite = _ => throw new IOException("No space left on device");
        TestBlocks.Put(store, 2);

        Assert.That(await store.FlushAsync(), Is.False);

        Assert.That(TestBlocks.Has(store, 1));
        Assert.That(TestBlocks.Has(store, 2), Is.False);
        var statistics = store.Statistics();
        Assert.That(statistics.WriteFailures, Is.EqualTo(1));
        Assert.That(statistics.FlushFailures, Is.GreaterThan(0));
        store.Device.BeforeWrite = null;
        Assert.That(TestBlocks.Put(store, 2), Is.EqualTo(PutResult.Stored));
        Assert.That(await store.FlushAsync());
        Assert.That(TestBlocks.Has(store, 2));
        store.Check();
    }

    [Test]
    public async Task Flush_DiskRefusesWrites_LogsTheDisksReason()
    {
        var messages = new MessageList();
        var options = TestBlocks.SmallOptions(_folder.Path);
        await using var store = TestBlocks.Open(options, logger: messages);
        store.Device.BeforeWrite = _ => throw new IOException("No space left on device");
        TestBlocks.Put(store, 1);

        await store.FlushAsync();

        Assert.That(messages.All, Has.Some.Contains("No space left on device"));
    }

    [Test]
    public async Task Put_RightAfterTheDiskFailed_IsRefusedAndCounted()
    {
        var options = TestBlocks.SmallOptions(_folder.Path) with { RetryAfterErrorMs = 600_000 };
        await using var store = TestBlocks.Open(options);
        store.Device.BeforeWrite = _ => throw new IOException("No space left on device");
        TestBlocks.Put(store, 1);
        await store.FlushAsync();

        Assert.That(TestBlocks.Put(store, 2), Is.EqualTo(PutResult.Refused));
        Assert.That(store.Statistics().Refused, Is.EqualTo(1));
    }

    [Test]
    public async Task Put_AfterOneWaitedInVain_IsRefusedWithoutWaiting()
    {
        var options = TestBlocks.SmallOptions(_folder.Path) with { PutWaitMsMax = 20, RetryAfterErrorMs = 600_000 };
        await using var store = TestBlocks.Open(options);
        using var disk = new ManualResetEventSlim();
        store.Device.BeforeWrite = _ => disk.Wait(TimeSpan.FromMinutes(1));
        var number = 0;
        while (TestBlocks.Put(store, number) == PutResult.Stored)
        {
            Assert.That(++number, Is.LessThan(10_000), "puts end when memory is full");
        }

        disk.Set();
        await store.FlushAsync();

        Assert.That(TestBlocks.Put(store, number), Is.EqualTo(PutResult.Refused), "the pause is not over");
        Assert.That(TestBlocks.Has(store, number - 1));
    }

    [Test]
    public async Task Reopen_AfterADiskThatFailedNowAndThen_HoldsOnlyRightBlocks([Range(0, 9)] int seed)
    {
        var random = new Random(seed);
        var options = TestBlocks.SmallOptions(_folder.Path) with { RetryAfterErrorMs = 0 };
        await using (var store = TestBlocks.Open(options))
        {
            store.Device.BeforeWrite = _ =>
            {
                lock (random)
                {
                    if (random.Next(3) == 0)
                    {
                        throw new IOException("Input/output error");
                    }
                }
            };
            for (var number = 0; number < 400; number++)
            {
                TestBlocks.Put(store, number);
                if (number % 16 == 0)
                {
                    await store.FlushAsync();
                }
            }

            store.Device.BeforeWrite = null;
            await store.FlushAsync();
            store.Check();
            Assert.That(store.Statistics().WriteFailures, Is.GreaterThan(0), $"seed {seed}");
            Assert.That(store.Statistics().Damaged, Is.Zero, $"seed {seed}");
        }

        await using var again = TestBlocks.OpenSmall(_folder.Path);
        var found = Enumerable.Range(0, 400).Count(number => TestBlocks.Has(again, number));
        Assert.That(found, Is.EqualTo(again.Statistics().Recovered), $"seed {seed}");
        Assert.That(again.Statistics().Damaged, Is.Zero, $"seed {seed}");
    }

    [Test]
    public async Task Flush_IndexCannotBeWritten_KeepsBlocksInMemoryAndTriesAgain()
    {
        var options = TestBlocks.SmallOptions(_folder.Path) with { RetryAfterErrorMs = 0 };
        var index = Path.Combine(_folder.Path, "blocks.0.index");
        await using (var store = TestBlocks.Open(options))
        {
            Directory.CreateDirectory(index);
            TestBlocks.Put(store, 1);

            Assert.That(await store.FlushAsync(), Is.False);
            Assert.That(TestBlocks.Has(store, 1));

            Directory.Delete(index);
            Assert.That(await store.FlushAsync());
        }

        await using var again = TestBlocks.OpenSmall(_folder.Path);
        Assert.That(TestBlocks.Has(again, 1));
    }

    [Test]
    public async Task Flush_FailingInTheBackground_IsNotTriedAgainAtEveryInterval()
    {
        var options = TestBlocks.SmallOptions(_folder.Path) with { FlushIntervalMs = 1, RetryAfterErrorMs = 600_000 };
        await using var store = TestBlocks.Open(options);
        var index = Path.Combine(_folder.Path, "blocks.0.index");
        Directory.CreateDirectory(index);
        TestBlocks.Put(store, 1);
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(2));
        while (store.Statistics().FlushFailures == 0)
        {
            await timer.WaitForNextTickAsync(limit.Token);
        }

        for (var tick = 0; tick < 100; tick++)
        {
            await timer.WaitForNextTickAsync(limit.Token);
        }

        Assert.That(store.Statistics().FlushFailures, Is.EqualTo(1));
        Directory.Delete(index);
    }

    [Test]
    public async Task Get_DiskRefusesReads_IsAMissCountedAndWorksAfterARestart()
    {
        await using (var store = TestBlocks.OpenSmall(_folder.Path))
        {
            for (var number = 0; number < 20; number++)
            {
                TestBlocks.Put(store, number);
            }
        }

        await using (var store = TestBlocks.OpenSmall(_folder.Path))
        {
            store.Device.BeforeRead = _ => throw new IOException("Input/output error");
            Assert.That(Enumerable.Range(0, 10).Any(number => TestBlocks.Has(store, number)), Is.False);
            Assert.That(
                store.Statistics(), Has.Property("ReadFailures").EqualTo(10).And.Property("Misses").EqualTo(10));
            store.Device.BeforeRead = null;
            Assert.That(TestBlocks.Has(store, 15));
            Assert.That(TestBlocks.Put(store, 3), Is.EqualTo(PutResult.Stored), "what is lost can be put again");
            store.Check();
        }

        await using var again = TestBlocks.OpenSmall(_folder.Path);
        Assert.That(Enumerable.Range(0, 20).All(number => TestBlocks.Has(again, number)));
    }

    [Test]
    public async Task Get_DiskRefusesSomeReads_NeverGivesWrongBytes([Range(0, 4)] int seed)
    {
        var random = new Random(seed);
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        store.Device.BeforeRead = _ =>
        {
            lock (random)
            {
                if (random.Next(8) == 0)
                {
                    throw new IOException("Input/output error");
                }
            }
        };
        for (var number = 0; number < 2_000; number++)
        {
            TestBlocks.Put(store, number);
            TestBlocks.Has(store, random.Next(number + 1));
            if (number % 50 == 0)
            {
                await store.FlushAsync();
            }
        }

        Assert.That(store.Statistics().ReadFailures, Is.GreaterThan(0), $"seed {seed}");
        store.Check();
    }
}
