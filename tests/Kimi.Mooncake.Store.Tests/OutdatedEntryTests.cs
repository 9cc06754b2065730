using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store.Tests;

/// <summary>What is removed or unpinned stays so, whichever segments come and go before the next start.</summary>
public sealed class OutdatedEntryTests
{
    private const int Wanted = 100_000;

    private readonly TestClock _clock = new();
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public async Task Remove_AfterItWasEvictedAndPutAgain_OutlivesTheSegmentOfTheSecondPut()
    {
        await using (var store = Open())
        {
            await EvictOnceAsync(store);
            Assert.That(TestBlocks.Put(store, Wanted), Is.EqualTo(PutResult.Stored));
            await store.FlushAsync();
            Assert.That(store.Remove(TestBlocks.Key(Wanted)));
            await store.FlushAsync();
            await RemoveFillAsync(store);
        }

        await using var again = Open();
        Assert.That(TestBlocks.Has(again, 0), "the segment of the first put is still there");
        Assert.That(TestBlocks.Has(again, Wanted), Is.False);
    }

    [Test]
    public async Task Remove_AfterItWasEvicted_OutlivesARestart()
    {
        await using (var store = Open())
        {
            await EvictOnceAsync(store);
            Assert.That(store.Remove(TestBlocks.Key(Wanted)), Is.False);
            await store.FlushAsync();
        }

        await using var again = Open();
        Assert.That(TestBlocks.Has(again, 0), "the segment of the first put is still there");
        Assert.That(TestBlocks.Has(again, Wanted), Is.False);
    }

    [Test]
    public async Task Open_StaleEntryInAnOlderSegment_IsTakenBackForGood()
    {
        var entries = Path.Combine(_folder.Path, "blocks.0.index");
        byte[] old;
        await using (var store = Open())
        {
            await EvictOnceAsync(store, () => File.Copy(entries, entries + "-old"));
            TestBlocks.Put(store, Wanted);
        }

        // As a kill leaves it that comes between the entry of the new place and the end of the old one.
        old = await File.ReadAllBytesAsync(entries + "-old");
        await File.WriteAllBytesAsync(entries, old);
        await using (var second = Open())
        {
            Assert.That(second.Remove(TestBlocks.Key(Wanted)));
            await second.FlushAsync();
            await RemoveFillAsync(second);
        }

        await using var third = Open();
        Assert.That(TestBlocks.Has(third, 0), "the segment of the first put is still there");
        Assert.That(TestBlocks.Has(third, Wanted), Is.False);
    }

    [Test]
    public async Task Open_BlocksOfTheSwapTenant_AreNotTakenOver()
    {
        var swapped = new BlockAttributes(
            KvBlockStore.SwapTenant, new BlockRetention(PinKind.Hard), BlockClass.Prompt);
        await using (var store = Open())
        {
            TestBlocks.Put(store, 1, swapped);
            TestBlocks.Put(store, 2);
            Assert.That(TestBlocks.Has(store, 1));
        }

        await using var again = Open();

        Assert.That(TestBlocks.Has(again, 1), Is.False);
        Assert.That(TestBlocks.Has(again, 2));
        Assert.That(
            again.Statistics(), Has.Property("HardPinned").Zero.And.Property("Recovered").EqualTo(1)
                .And.Property("Damaged").Zero);
    }

    [Test]
    public async Task Put_ChildThatLivesLonger_KeepsItsParentOverARestart()
    {
        await using (var store = Open())
        {
            TestBlocks.Put(store, 1, Kept(new BlockRetention(LifetimeSeconds: 60)));
            await store.FlushAsync();
            TestBlocks.PutAfter(store, 2, 1, Kept(new BlockRetention(LifetimeSeconds: 3_600)));
        }

        _clock.Advance(TimeSpan.FromSeconds(120));
        await using var again = Open();

        Assert.That(TestBlocks.Has(again, 2));
        Assert.That(TestBlocks.Has(again, 1));
    }

    [Test]
    public async Task Reserve_KeyThatIsBeingPut_StrengthensTheBlockToCome()
    {
        await using var store = Open();
        Assert.That(store.TryReserve(
            TestBlocks.Key(1), default, BlockAttributes.Default, out var reservation, out _));
        using (reservation)
        {
            Assert.That(
                TestBlocks.Put(store, 1, Kept(new BlockRetention(PinKind.Hard))), Is.EqualTo(PutResult.Duplicate));
            Assert.That(
                reservation!.Commit(TestBlocks.Bytes(1, store.BlockBytes)), Is.EqualTo(PutResult.Stored));
        }

        Assert.That(store.Statistics().HardPinned, Is.EqualTo(1));
    }

    private static BlockAttributes Kept(BlockRetention retention) =>
        BlockAttributes.Default with { Retention = retention };

    // Block 0 keeps the first segment, in which the wanted block lay until it had to go.
    private static async Task EvictOnceAsync(KvBlockStore store, Action? flushed = null)
    {
        TestBlocks.Put(store, 0, Kept(new BlockRetention(PinKind.Hard)));
        TestBlocks.Put(store, Wanted);
        for (var number = 1; number < 20; number++)
        {
            TestBlocks.Put(store, number, Kept(new BlockRetention(PinKind.Hard)));
        }

        await store.FlushAsync();
        flushed?.Invoke();
        for (var number = 1_000; store.Contains(TestBlocks.Key(Wanted)); number++)
        {
            Assert.That(TestBlocks.Put(store, number), Is.EqualTo(PutResult.Stored));
        }
    }

    // Until the segment that was written last is gone.
    private async Task RemoveFillAsync(KvBlockStore store)
    {
        for (var number = 1_000; number < 10_000; number++)
        {
            store.Remove(TestBlocks.Key(number));
        }

        for (var number = 20_000; number < 20_100; number++)
        {
            Assert.That(TestBlocks.Put(store, number), Is.EqualTo(PutResult.Stored));
            await store.FlushAsync();
            store.Remove(TestBlocks.Key(number));
        }

        await store.FlushAsync();
        Assert.That(File.Exists(Path.Combine(_folder.Path, "blocks.0")));
    }

    private KvBlockStore Open() => TestBlocks.Open(TestBlocks.SmallOptions(_folder.Path), time: _clock);
}
