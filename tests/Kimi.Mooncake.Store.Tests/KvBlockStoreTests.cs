namespace Kimi.Mooncake.Store.Tests;

public sealed class KvBlockStoreTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public async Task Get_BlockJustPut_GivesItsBytes()
    {
        await using var store = TestBlocks.OpenSmall(_folder.Path);

        Assert.That(TestBlocks.Put(store, 1), Is.EqualTo(PutResult.Stored));

        Assert.That(TestBlocks.Has(store, 1));
        Assert.That(store.Contains(TestBlocks.Key(1)));
        Assert.That(TestBlocks.Has(store, 2), Is.False);
        Assert.That(store.Statistics(), Has.Property("MemoryHits").EqualTo(1).And.Property("Misses").EqualTo(1));
    }

    [Test]
    public async Task Put_SameKeyTwice_IsDuplicate()
    {
        await using var store = TestBlocks.OpenSmall(_folder.Path);

        TestBlocks.Put(store, 1);

        Assert.That(TestBlocks.Put(store, 1), Is.EqualTo(PutResult.Duplicate));
    }

    [Test]
    public async Task Put_WrongLength_NamesBothLengths()
    {
        await using var store = TestBlocks.OpenSmall(_folder.Path);

        var error = Assert.Throws<ArgumentException>(() => store.Put(TestBlocks.Key(1), default, new byte[5]));

        Assert.That(error!.Message, Does.Contain("2048").And.Contain("5"));
    }

    [Test]
    public async Task CountStored_GapInTheMiddle_CountsTheLeadingRun()
    {
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        foreach (var number in new[] { 0, 1, 2, 4 })
        {
            TestBlocks.Put(store, number);
        }

        var keys = Enumerable.Range(0, 5).Select(TestBlocks.Key).ToArray();

        Assert.That(store.CountStored(keys), Is.EqualTo(3));
        Assert.That(store.CountStored([]), Is.Zero);
    }

    [TestCase(false)]
    [TestCase(true)]
    public async Task Remove_StoredBlock_IsMissedFreesItsMemoryAndCanBePutAgain(bool flushed)
    {
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        TestBlocks.Put(store, 1);
        TestBlocks.Put(store, 2);
        if (flushed)
        {
            await store.FlushAsync();
        }

        Assert.That(store.Remove(TestBlocks.Key(1)));

        Assert.That(TestBlocks.Has(store, 1), Is.False);
        Assert.That(store.Remove(TestBlocks.Key(1)), Is.False);
        Assert.That(store.Statistics(), Has.Property("Blocks").EqualTo(1).And.Property("BlocksInMemory").EqualTo(1));
        Assert.That(TestBlocks.Put(store, 1), Is.EqualTo(PutResult.Stored));
        Assert.That(await store.FlushAsync());
        Assert.That(TestBlocks.Has(store, 1));
        store.Check();
    }

    [Test]
    public async Task Reopen_AfterDispose_FindsEveryBlock()
    {
        await using (var first = TestBlocks.OpenSmall(_folder.Path))
        {
            for (var number = 0; number < 200; number++)
            {
                TestBlocks.Put(first, number);
            }
        }

        await using var second = TestBlocks.OpenSmall(_folder.Path);

        Assert.That(second.Statistics().Recovered, Is.EqualTo(200));
        Assert.That(Enumerable.Range(0, 200).All(number => TestBlocks.Has(second, number)));
        Assert.That(second.Statistics().DiskHits, Is.EqualTo(200));
        Assert.That(TestBlocks.Put(second, 5), Is.EqualTo(PutResult.Duplicate));
    }

    [Test]
    public async Task Reopen_ManyTimesWithFewBlocks_KeepsAllAndStaysSmall()
    {
        for (var run = 0; run < 20; run++)
        {
            await using var store = TestBlocks.OpenSmall(_folder.Path);
            TestBlocks.Put(store, run);
        }

        await using var last = TestBlocks.OpenSmall(_folder.Path);

        Assert.That(Enumerable.Range(0, 20).All(number => TestBlocks.Has(last, number)));
        Assert.That(DiskBytes(), Is.LessThan(20 * 16 * 1024));
    }

    [Test]
    public async Task Flush_ThenReadBeyondMemory_ComesFromDisk()
    {
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        for (var number = 0; number < 300; number++)
        {
            Assert.That(TestBlocks.Put(store, number), Is.EqualTo(PutResult.Stored));
        }

        Assert.That(await store.FlushAsync());

        Assert.That(Enumerable.Range(0, 300).All(number => TestBlocks.Has(store, number)));
        Assert.That(store.Statistics().DiskHits, Is.GreaterThan(100));
        store.Check();
    }

    [Test]
    public async Task Put_MoreThanTheDiskHolds_DropsTheOldestAndStaysWithinTheLimit()
    {
        var options = TestBlocks.SmallOptions(_folder.Path);
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        for (var number = 0; number < 3_000; number++)
        {
            Assert.That(TestBlocks.Put(store, number), Is.EqualTo(PutResult.Stored));
            if (number % 100 == 0)
            {
                await store.FlushAsync();
                Assert.That(DiskBytes(), Is.LessThanOrEqualTo(options.DiskBytes + options.SegmentBytes));
            }
        }

        Assert.That(TestBlocks.Has(store, 0), Is.False);
        Assert.That(TestBlocks.Has(store, 2_999));
        var statistics = store.Statistics();
        Assert.That(statistics.Evicted, Is.GreaterThan(2_000));
        Assert.That(statistics.Blocks, Is.EqualTo(3_000 - statistics.Evicted));
        Assert.That(statistics.Damaged, Is.Zero);
        store.Check();
    }

    [Test]
    public async Task Put_MoreThanTheDiskHolds_KeepsBlocksThatAreRead()
    {
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        for (var number = 0; number < 3_000; number++)
        {
            TestBlocks.Put(store, number);
            if (number % 50 == 0)
            {
                await store.FlushAsync();
                for (var read = 0; read < number; read += 50)
                {
                    Assert.That(TestBlocks.Has(store, read), $"{read} after {number}");
                }
            }
        }

        Assert.That(store.Statistics().Moved, Is.GreaterThan(0));
        store.Check();
    }

    [Test]
    public async Task Reopen_OtherModel_StartsEmptyAndServes()
    {
        await using (var first = TestBlocks.OpenSmall(_folder.Path))
        {
            TestBlocks.Put(first, 1);
        }

        await using var other = TestBlocks.Open(TestBlocks.SmallOptions(_folder.Path), "another model");

        Assert.That(other.Contains(TestBlocks.Key(1)), Is.False);
        Assert.That(other.Statistics().Damaged, Is.Zero);
        Assert.That(TestBlocks.Put(other, 1), Is.EqualTo(PutResult.Stored));
        Assert.That(TestBlocks.Has(other, 1));
    }

    [Test]
    public async Task Reopen_SmallerDiskLimit_DropsTheOldest()
    {
        await using (var first = TestBlocks.OpenSmall(_folder.Path))
        {
            for (var number = 0; number < 600; number++)
            {
                TestBlocks.Put(first, number);
            }
        }

        var options = TestBlocks.SmallOptions(_folder.Path) with { DiskBytes = 512 * 1024 };
        await using var second = TestBlocks.Open(options);

        await second.CompactAsync();
        Assert.That(DiskBytes(), Is.LessThanOrEqualTo(512 * 1024));
        Assert.That(TestBlocks.Has(second, 0), Is.False);
        Assert.That(TestBlocks.Has(second, 599));
    }

    [Test]
    public async Task Open_FolderInUse_SaysSo()
    {
        await using var store = TestBlocks.OpenSmall(_folder.Path);

        var error = Assert.Throws<StoreException>(() => TestBlocks.OpenSmall(_folder.Path));

        Assert.That(error!.Message, Does.Contain(_folder.Path).And.Contain("in use"));
    }

    [Test]
    public void Open_FolderThatCannotBeCreated_NamesIt()
    {
        var file = Path.Combine(_folder.Path, "file");
        File.WriteAllText(file, "");
        var path = Path.Combine(file, "store");

        var error = Assert.Throws<StoreException>(() => TestBlocks.OpenSmall(path));

        Assert.That(error!.Message, Does.Contain(path));
    }

    [TestCase(64 * 1024, 2 << 20, "MemoryBytes")]
    [TestCase(1 << 20, 256 * 1024, "DiskBytes")]
    public void Open_LimitTooSmall_NamesTheSettingAndTheLeast(long memory, long disk, string name)
    {
        var options = TestBlocks.SmallOptions(_folder.Path) with { MemoryBytes = memory, DiskBytes = disk };

        var error = Assert.Throws<StoreException>(
            () => TestBlocks.Open(options));

        Assert.That(error!.Message, Does.Contain(name).And.Contain("at least"));
    }

    [Test]
    public async Task PutAndGet_FromManyThreads_EveryHitIsRight()
    {
        const int Threads = 8;
        const int PerThread = 2_000;
        var options = TestBlocks.SmallOptions(_folder.Path) with { FlushIntervalMs = 5 };
        await using var store = TestBlocks.Open(options);

        await Task.WhenAll(Enumerable.Range(0, Threads).Select(thread => Task.Run(() =>
        {
            var random = new Random(thread);
            for (var i = 0; i < PerThread; i++)
            {
                var number = random.Next(2_000);
                if (random.Next(2) == 0)
                {
                    TestBlocks.Put(store, number);
                }
                else
                {
                    TestBlocks.Has(store, number);
                }
            }
        })));

        store.Check();
        Assert.That(store.Statistics().Damaged, Is.Zero);
        Assert.That(await store.FlushAsync());
    }

    private long DiskBytes() => new DirectoryInfo(_folder.Path).EnumerateFiles().Sum(file => file.Length);
}
