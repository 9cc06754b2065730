using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store.Tests;

/// <summary>Puts in two phases, and reads of parts and of runs of blocks.</summary>
public sealed class ReadTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public async Task Commit_ReservedBlock_IsFoundOnlyThen()
    {
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        Assert.That(Reserve(store, 1, out var reservation, out _));
        using (reservation)
        {
            TestBlocks.Bytes(1, store.BlockBytes).CopyTo(reservation!.Block);
            Assert.That(store.Contains(TestBlocks.Key(1)), Is.False);
            Assert.That(Reserve(store, 1, out _, out var refused), Is.False);
            Assert.That(refused, Is.EqualTo(PutResult.Duplicate), "somebody is at it");

            Assert.That(reservation.Commit(), Is.EqualTo(PutResult.Stored));
            Assert.Throws<ObjectDisposedException>(() => reservation.Commit());
        }

        Assert.That(TestBlocks.Has(store, 1));
        store.Check();
    }

    [Test]
    public async Task Dispose_ReservationNotCommitted_GivesTheRoomBack()
    {
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        for (var round = 0; round < 1_000; round++)
        {
            Assert.That(Reserve(store, 1, out var reservation, out _));
            reservation!.Dispose();
        }

        Assert.That(store.Statistics(), Has.Property("Blocks").Zero.And.Property("BlocksInMemory").Zero);
        Assert.That(TestBlocks.Put(store, 1), Is.EqualTo(PutResult.Stored));
        store.Check();
    }

    [TestCase(false)]
    [TestCase(true)]
    public async Task GetLayers_OfMemoryAndDisk_GivesThatPart(bool fromDisk)
    {
        await FillAsync();
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        if (!fromDisk)
        {
            TestBlocks.Has(store, 1);
        }

        var expected = TestBlocks.Bytes(1, store.BlockBytes);
        var layer = store.BlockBytes / TestBlocks.SmallLayout.LayerCount;
        foreach (var (first, count) in new[] { (0, 1), (1, 1), (0, 2) })
        {
            var part = new byte[count * layer];
            Assert.That(store.TryGetLayers(TestBlocks.Key(1), first, count, part));
            Assert.That(part, Is.EqualTo(expected[(first * layer)..((first + count) * layer)]));
        }

        Assert.That(store.Statistics().DiskHits, Is.GreaterThan(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => store.TryGetLayers(TestBlocks.Key(1), 1, 2, new byte[layer]));
        Assert.Throws<ArgumentException>(() => store.TryGetLayers(TestBlocks.Key(1), 0, 2, new byte[layer]));
    }

    [Test]
    public async Task GetMany_FromMemoryAndDisk_ReadsTheLeadingBlocks()
    {
        await FillAsync();
        await using var store = TestBlocks.Open(
            TestBlocks.SmallOptions(_folder.Path) with { PromoteAfterReads = 1 });
        TestBlocks.Has(store, 3);
        BlockKey[] keys = [.. Enumerable.Range(0, 121).Select(TestBlocks.Key)];

        Assert.That(GetMany(store, keys, out var blocks), Is.EqualTo(120));
        Assert.That(
            Enumerable.Range(0, 120).All(i => blocks[i].SequenceEqual(TestBlocks.Bytes(i, store.BlockBytes))));
        Assert.That(store.Statistics(), Has.Property("MemoryHits").GreaterThan(0).And.Property("Misses").EqualTo(1));
        Assert.That(GetMany(store, [TestBlocks.Key(7_000), .. keys], out _), Is.Zero);
    }

    [Test]
    public async Task Contains_ManyKeys_AnswersEach()
    {
        await FillAsync();
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        BlockKey[] keys = [.. Enumerable.Range(0, 10_000).Select(static i => TestBlocks.Key(i % 240))];
        var found = new bool[keys.Length];

        store.Contains(keys, found);

        Assert.That(found, Is.EqualTo(Enumerable.Range(0, keys.Length).Select(static i => i % 240 < 120)));
        Assert.That(store.CountStored(keys), Is.EqualTo(120));
        Assert.Throws<ArgumentException>(() => store.Contains(keys, new bool[3]));
    }

    [Test]
    public async Task Get_ReadOftenEnough_ComesBackToMemory()
    {
        await FillAsync();
        await using var store = TestBlocks.Open(
            TestBlocks.SmallOptions(_folder.Path) with { PromoteAfterReads = 3 });

        for (var read = 0; read < 5; read++)
        {
            Assert.That(TestBlocks.Has(store, 1));
        }

        Assert.That(
            store.Statistics(),
            Has.Property("DiskHits").EqualTo(3).And.Property("MemoryHits").EqualTo(2)
                .And.Property("Promoted").EqualTo(1).And.Property("BlocksInMemory").EqualTo(1));
        store.Check();
    }

    [TestCase(false)]
    [TestCase(true)]
    public async Task Get_CompressedStore_GivesTheSameBytes(bool alike)
    {
        var options = TestBlocks.SmallOptions(_folder.Path) with { Compression = StoreCompression.Brotli };
        await using (var first = TestBlocks.Open(options))
        {
            for (var number = 0; number < 50; number++)
            {
                Assert.That(
                    first.Put(TestBlocks.Key(number), default, Values(number, alike)), Is.EqualTo(PutResult.Stored));
            }

            var statistics = first.Statistics();
            Assert.That(statistics.PayloadBytesPut, Is.EqualTo(50L * first.BlockBytes));
            Assert.That(
                statistics.StoredBytesPut,
                alike ? Is.LessThan(statistics.PayloadBytesPut / 2) : Is.EqualTo(statistics.PayloadBytesPut));
        }

        await using var second = TestBlocks.Open(options);
        var block = new byte[second.BlockBytes];
        var half = new byte[second.BlockBytes / 2];
        for (var number = 0; number < 50; number++)
        {
            Assert.That(second.TryGetLayers(TestBlocks.Key(number), 1, 1, half));
            Assert.That(second.TryGet(TestBlocks.Key(number), block));
            Assert.That(block, Is.EqualTo(Values(number, alike)));
            Assert.That(half, Is.EqualTo(block[half.Length..]));
        }

        await second.CompactAsync();
        second.Check();
    }

    [Test]
    public async Task Subscribe_ThenPutsRemovalsAndEvictions_ToldInOrder()
    {
        await FillAsync();
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        var listener = new Known();

        store.Subscribe(listener);
        Assert.That(listener.Keys, Has.Count.EqualTo(120));
        Assert.That(listener.Parents, Does.ContainValue(TestBlocks.Key(4)));
        for (var number = 1_000; number < 3_000; number++)
        {
            TestBlocks.Put(store, number);
            if (number % 100 == 0)
            {
                await store.FlushAsync();
                store.Remove(TestBlocks.Key(number));
            }
        }

        await store.FlushAsync();
        Assert.That(listener.Keys.All(key => store.Contains(key)));
        Assert.That(listener.Keys, Has.Count.EqualTo(store.Statistics().Blocks));
    }

    private static bool Reserve(
        KvBlockStore store, int number, out PutReservation? reservation, out PutResult refused) =>
        store.TryReserve(TestBlocks.Key(number), default, BlockAttributes.Default, out reservation, out refused);

    private static byte[] Values(int number, bool alike)
    {
        var bytes = TestBlocks.Bytes(number, TestBlocks.SmallLayout.BytesPerBlock);
        for (var i = 0; alike && i < bytes.Length; i += 4)
        {
            bytes.AsSpan(i + 1, 3).Fill(63);
        }

        return bytes;
    }

    private static int GetMany(KvBlockStore store, BlockKey[] keys, out byte[][] blocks)
    {
        blocks = [.. keys.Select(_ => GC.AllocateUninitializedArray<byte>(store.BlockBytes, pinned: true))];
        return store.TryGetMany(
            keys, [.. blocks.Select(static block => (nint)Marshal.UnsafeAddrOfPinnedArrayElement(block, 0))]);
    }

    // 120 blocks, of which the one after block 4 says so.
    private async Task FillAsync()
    {
        await using var store = TestBlocks.OpenSmall(_folder.Path);
        for (var number = 0; number < 120; number++)
        {
            Assert.That(
                number == 5 ? TestBlocks.PutAfter(store, 5, 4) : TestBlocks.Put(store, number),
                Is.EqualTo(PutResult.Stored));
        }
    }

    private sealed class Known : IStoreListener
    {
        public HashSet<BlockKey> Keys { get; } = [];

        public Dictionary<BlockKey, BlockKey> Parents { get; } = [];

        public void Stored(BlockKey key, BlockKey parent)
        {
            Keys.Add(key);
            Parents[key] = parent;
        }

        public void Removed(BlockKey key) => Assert.That(Keys.Remove(key), "a block that is not known was removed");
    }
}
