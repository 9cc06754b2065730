using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store.Tests;

/// <summary>How long blocks stay: pins, lifetimes, leases, quotas, and all of it over a restart.</summary>
public sealed class RetentionTests
{
    private readonly TestClock _clock = new();
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public async Task Put_MoreThanTheDiskHolds_NeverEvictsHardPins()
    {
        await using var store = Open();
        for (var number = 0; number < 100; number++)
        {
            TestBlocks.Put(store, number, Kept(new BlockRetention(PinKind.Hard)));
        }

        await FillAsync(store, 1_000, 3_000);

        Assert.That(Enumerable.Range(0, 100).All(number => TestBlocks.Has(store, number)));
        Assert.That(store.Statistics(), Has.Property("HardPinned").EqualTo(100).And.Property("Damaged").Zero);
        store.Check();
    }

    [Test]
    public async Task Put_WhenAllIsPinned_IsRefusedForThatReasonAndWorksAfterUnpin()
    {
        await using var store = Open();
        var number = 0;
        while (TestBlocks.Put(store, number, Kept(new BlockRetention(PinKind.Hard))) == PutResult.Stored)
        {
            Assert.That(++number, Is.LessThan(5_000), "the disk is full some time");
        }

        Assert.That(store.Statistics(), Has.Property("RefusedPinned").EqualTo(1).And.Property("Evicted").Zero);
        Assert.That(store.Unpin([TestBlocks.Key(0), TestBlocks.Key(9_999)]), Is.EqualTo(1));

        Assert.That(TestBlocks.Put(store, number), Is.EqualTo(PutResult.Stored));
        Assert.That(store.Contains(TestBlocks.Key(0)), Is.False, "the only one that may go");
    }

    [Test]
    public async Task Put_MoreThanTheDiskHolds_EvictsSoftPinsLast()
    {
        await using var store = Open();
        for (var number = 0; number < 50; number++)
        {
            TestBlocks.Put(store, number, Kept(new BlockRetention(PinKind.Soft, PinSeconds: 60)));
        }

        await FillAsync(store, 1_000, 2_000);
        Assert.That(Enumerable.Range(0, 50).All(number => store.Contains(TestBlocks.Key(number))));

        _clock.Advance(TimeSpan.FromSeconds(61));
        await FillAsync(store, 4_000, 2_000);
        Assert.That(Enumerable.Range(0, 50).Any(number => store.Contains(TestBlocks.Key(number))), Is.False);
    }

    [Test]
    public async Task Put_MoreThanTheDiskHolds_KeepsPrefixesClosed()
    {
        await using var store = Open();
        for (var number = 0; number < 3_000; number++)
        {
            var first = number % 30 == 0;
            Assert.That(
                first ? TestBlocks.Put(store, number) : TestBlocks.PutAfter(store, number, number - 1),
                Is.EqualTo(PutResult.Stored));
            if (number % 200 == 0)
            {
                await store.FlushAsync();
            }
        }

        for (var first = 0; first < 3_000; first += 30)
        {
            var there = Enumerable.Range(first, 30).Select(number => store.Contains(TestBlocks.Key(number))).ToArray();
            Assert.That(
                there.SkipWhile(static stored => stored).Any(static stored => stored), Is.False, $"prefix {first}");
        }

        store.Check();
    }

    [Test]
    public async Task Get_PastItsLifetime_IsAMissAndItsRoomIsFreed()
    {
        await using var store = Open();
        TestBlocks.Put(store, 1, Kept(new BlockRetention(LifetimeSeconds: 10)));
        TestBlocks.Put(store, 2);

        _clock.Advance(TimeSpan.FromSeconds(11));

        Assert.That(TestBlocks.Has(store, 1), Is.False);
        Assert.That(TestBlocks.Has(store, 2));
        await store.FlushAsync();
        Assert.That(store.Statistics(), Has.Property("Blocks").EqualTo(1).And.Property("Expired").EqualTo(1));
        Assert.That(TestBlocks.Put(store, 1), Is.EqualTo(PutResult.Stored));
        store.Check();
    }

    [Test]
    public async Task Put_Duplicate_ProlongsItsLife()
    {
        await using var store = Open();
        TestBlocks.Put(store, 1, Kept(new BlockRetention(LifetimeSeconds: 10)));

        Assert.That(
            TestBlocks.Put(store, 1, Kept(new BlockRetention(LifetimeSeconds: 100))), Is.EqualTo(PutResult.Duplicate));

        _clock.Advance(TimeSpan.FromSeconds(60));
        Assert.That(TestBlocks.Has(store, 1));
    }

    [Test]
    public async Task Lease_WhileItLasts_KeepsBlocksAndIsRenewed()
    {
        await using var store = Open();
        for (var number = 0; number < 20; number++)
        {
            TestBlocks.Put(store, number);
        }

        BlockKey[] keys = [.. Enumerable.Range(0, 21).Select(TestBlocks.Key)];
        using (var lease = store.Lease(keys, TimeSpan.FromSeconds(5)))
        {
            Assert.That(lease.Blocks, Is.EqualTo(20));
            Assert.That(store.Statistics().Leases, Is.EqualTo(1));
            await FillAsync(store, 1_000, 2_000);
            _clock.Advance(TimeSpan.FromSeconds(4));
            lease.Renew(TimeSpan.FromSeconds(5));
            _clock.Advance(TimeSpan.FromSeconds(4));
            await FillAsync(store, 4_000, 2_000);
            Assert.That(store.CountStored(keys), Is.EqualTo(20));
        }

        _clock.Advance(TimeSpan.FromSeconds(2));
        await FillAsync(store, 8_000, 2_000);
        Assert.That(store.CountStored(keys), Is.Zero);
        Assert.That(store.Statistics().Leases, Is.Zero);
    }

    [Test]
    public async Task Put_BeyondATenantsQuota_EvictsItsOwnBlocksOnly()
    {
        await using var store = Open();
        var acme = new BlockAttributes("acme", default, BlockClass.Prompt);
        var other = new BlockAttributes("other", default, BlockClass.Prompt);
        for (var number = 0; number < 50; number++)
        {
            TestBlocks.Put(store, number, other);
        }

        var perBlock = store.Tenants().Single(static tenant => tenant.Name == "other").Bytes / 50;
        store.SetQuota("acme", 10 * perBlock);
        for (var number = 100; number < 200; number++)
        {
            Assert.That(TestBlocks.Put(store, number, acme), Is.EqualTo(PutResult.Stored));
        }

        Assert.That(
            store.Tenants().Single(static tenant => tenant.Name == "acme"),
            Is.EqualTo(new TenantUsage("acme", 10, 10 * perBlock, 10 * perBlock)));
        Assert.That(store.Statistics(), Has.Property("EvictedForQuota").EqualTo(90));
        Assert.That(Enumerable.Range(0, 50).All(number => TestBlocks.Has(store, number)));
    }

    [Test]
    public async Task Put_BeyondAQuotaOfPinnedBlocks_IsRefusedForThatReason()
    {
        await using var store = Open();
        var pinned = new BlockAttributes("acme", new BlockRetention(PinKind.Hard), BlockClass.Context);
        TestBlocks.Put(store, 1, pinned);
        store.SetQuota("acme", store.Tenants().Single().Bytes);

        Assert.That(TestBlocks.Put(store, 2, pinned), Is.EqualTo(PutResult.Refused));
        Assert.That(store.Statistics().RefusedQuota, Is.EqualTo(1));
    }

    [Test]
    public async Task Put_TenantsNameTooLong_SaysSo()
    {
        await using var store = Open();
        var attributes = new BlockAttributes(new string('x', 121), default, BlockClass.Prompt);

        var error = Assert.Throws<ArgumentException>(() => TestBlocks.Put(store, 1, attributes));

        Assert.That(error!.Message, Does.Contain("120"));
    }

    [Test]
    public async Task Reopen_PinsLifetimesRemovalsAndTenants_AreAsBefore()
    {
        var acme = new BlockAttributes(
            "acme Ltd %", new BlockRetention(PinKind.Hard, PinSeconds: 1_000), BlockClass.Context);
        await using (var first = Open())
        {
            TestBlocks.Put(first, 0, acme);
            TestBlocks.PutAfter(first, 1, 0, acme);
            TestBlocks.Put(first, 2, Kept(new BlockRetention(LifetimeSeconds: 500)));
            TestBlocks.Put(first, 3);
            TestBlocks.Put(first, 4);
            TestBlocks.Put(first, 5, Kept(new BlockRetention(PinKind.Hard)));
            await first.FlushAsync();
            first.Retain([TestBlocks.Key(3)], new BlockRetention(PinKind.Hard, PinSeconds: 2_000));
            first.Remove(TestBlocks.Key(4));
            first.Unpin([TestBlocks.Key(5)]);
        }

        await using (var second = Open())
        {
            Assert.That(
                second.Statistics(),
                Has.Property("HardPinned").EqualTo(3).And.Property("Recovered").EqualTo(5)
                    .And.Property("Damaged").Zero);
            Assert.That(second.Contains(TestBlocks.Key(4)), Is.False, "removed");
            Assert.That(
                second.Tenants().Select(static tenant => (tenant.Name, tenant.Blocks)),
                Is.EquivalentTo(new[] { ("acme Ltd %", 2L), ("", 3L) }));
            _clock.Advance(TimeSpan.FromSeconds(501));
            Assert.That(second.Contains(TestBlocks.Key(2)), Is.False, "its lifetime went on");
            await FillAsync(second, 1_000, 2_000);
            Assert.That(AreThere(second, 0, 1, 3), Is.All.True);
            Assert.That(second.Contains(TestBlocks.Key(5)), Is.False, "not pinned any more");
        }

        _clock.Advance(TimeSpan.FromSeconds(600));
        await using var third = Open();
        Assert.That(third.Statistics().HardPinned, Is.EqualTo(1), "the other pins have ended");
        await FillAsync(third, 10_000, 2_000);
        Assert.That(AreThere(third, 3), Is.All.True);
        third.Check();
    }

    [Test]
    public async Task Retain_AgainAndAgain_DoesNotGrowTheFilesWithoutEnd()
    {
        await using (var store = Open())
        {
            for (var number = 0; number < 20; number++)
            {
                TestBlocks.Put(store, number);
            }

            BlockKey[] keys = [.. Enumerable.Range(0, 20).Select(TestBlocks.Key)];
            for (var round = 0; round < 300; round++)
            {
                _clock.Advance(TimeSpan.FromSeconds(2));
                Assert.That(store.Retain(keys, new BlockRetention(PinKind.Hard, PinSeconds: 100)), Is.EqualTo(20));
                await store.FlushAsync();
            }

            var index = new FileInfo(Path.Combine(_folder.Path, "blocks.0.index"));
            Assert.That(index.Length, Is.LessThan(2_000 * 128), "300 rounds would be 6,000 entries");
        }

        await using var again = Open();
        Assert.That(
            again.Statistics(),
            Has.Property("HardPinned").EqualTo(20).And.Property("Recovered").EqualTo(20)
                .And.Property("Damaged").Zero);
    }

    private static BlockAttributes Kept(BlockRetention retention) =>
        BlockAttributes.Default with { Retention = retention };

    private static IEnumerable<bool> AreThere(KvBlockStore store, params int[] numbers) =>
        [.. numbers.Select(number => TestBlocks.Has(store, number))];

    private static async Task FillAsync(KvBlockStore store, int first, int blocks)
    {
        for (var number = first; number < first + blocks; number++)
        {
            Assert.That(TestBlocks.Put(store, number), Is.EqualTo(PutResult.Stored), $"block {number}");
            if (number % 100 == 0)
            {
                await store.FlushAsync();
            }
        }
    }

    private KvBlockStore Open() => TestBlocks.Open(TestBlocks.SmallOptions(_folder.Path), time: _clock);
}
