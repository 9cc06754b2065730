using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Retention;

namespace Kimi.Mooncake.KvCache.Tests.Retention;

[TestFixture]
internal sealed class RetentionIndexTests
{
    private const int BlockBytes = 100;

    private static readonly BlockRetention Soft = new(PinKind.Soft);
    private static readonly BlockRetention Hard = new(PinKind.Hard);

    [Test]
    public void TryPickVictim_Chain_TakesTheTailFirst()
    {
        var index = Make();
        var keys = Chain(index, 5);

        var order = EvictAll(index);

        Assert.That(order, Is.EqualTo(keys.Reverse()));
        Assert.That((index.Count, index.GhostCount, index.Bytes), Is.EqualTo((0, 0, 0)));
    }

    [Test]
    public void TryPickVictim_PrefixUsedLater_TakesTheOtherSequenceFirst()
    {
        var index = Make();
        var first = Chain(index, 2, seed: 1);
        var second = Chain(index, 2, seed: 2);
        foreach (var key in first)
        {
            index.Use(index.Find(key, 0), 0);
        }

        Assert.That(EvictAll(index), Is.EqualTo(second.Reverse().Concat(first.Reverse())));
    }

    [Test]
    public void Find_ProbedOften_RenewsNothing()
    {
        var index = Make();
        var old = Add(index, Key(1));
        Add(index, Key(2));

        for (var i = 0; i < 10; i++)
        {
            index.Find(Key(1), 0);
            index.FindPrefix([Key(1)], 0);
        }

        Assert.That(index.TryPickVictim(0, out var victim), Is.True);
        Assert.That(victim, Is.EqualTo(old));
    }

    [Test]
    public void Add_ParentMissing_MakesAGhostThatIsNotFoundAndLeavesWithItsChild()
    {
        var index = Make();
        var child = Add(index, Key(2), parent: Key(1));

        Assert.That((index.Count, index.GhostCount), Is.EqualTo((1, 1)));
        Assert.That(index.Find(Key(1), 0), Is.EqualTo(RetentionIndex<long>.None));
        Assert.That(index.ParentKeyOf(child), Is.EqualTo(Key(1)));

        index.Remove(child);

        Assert.That(index.GhostCount, Is.Zero);
        index.Check();
    }

    [Test]
    public void Add_GhostFilled_BlocksEvictionOfTheParentUntilTheChildIsGone()
    {
        var index = Make();
        var child = Add(index, Key(2), parent: Key(1));
        var parent = Add(index, Key(1));

        Assert.That((index.Count, index.GhostCount), Is.EqualTo((2, 0)));
        Assert.That((index.IsEvictable(parent, 0), index.IsEvictable(child, 0)), Is.EqualTo((false, true)));
        Assert.That(EvictAll(index), Is.EqualTo(new[] { Key(2), Key(1) }));
    }

    [Test]
    public void Add_KeysThatNameEachOtherAsParents_StillLeave()
    {
        var index = Make();
        Add(index, Key(1), parent: Key(2));
        Add(index, Key(2), parent: Key(3));
        Add(index, Key(3), parent: Key(1));
        Add(index, Key(4), parent: Key(4));
        index.Check();

        Assert.That(EvictAll(index), Has.Count.EqualTo(4));
        Assert.That(index.GhostCount, Is.Zero);
    }

    [Test]
    public void Add_KeyThere_Throws()
    {
        var index = Make();
        Add(index, Key(1), retention: new BlockRetention(LifetimeSeconds: 1));

        Assert.That(() => Add(index, Key(1)), Throws.InvalidOperationException);
        Assert.That(() => Add(index, Key(1), nowMs: 5_000), Throws.InvalidOperationException);
        Assert.That(index.Find(Key(1), 5_000), Is.EqualTo(RetentionIndex<long>.None));
        Assert.That(index.FindAny(Key(1)), Is.Not.EqualTo(RetentionIndex<long>.None));
    }

    [Test]
    public void TryPickVictim_Pins_SoftGoLastAndHardNever()
    {
        var index = Make();
        Add(index, Key(1), retention: Soft);
        Add(index, Key(2), retention: Hard);
        Add(index, Key(3), retention: new BlockRetention(Priority: 1));
        Add(index, Key(4));

        Assert.That(EvictAll(index), Is.EqualTo(new[] { Key(4), Key(3), Key(1) }));
        Assert.That(index.Find(Key(2), 0), Is.Not.EqualTo(RetentionIndex<long>.None));
        Assert.That(index.PinnedCount(PinKind.Hard), Is.EqualTo(1));
        Assert.That(index.PinnedBytesOf(0, PinKind.Hard), Is.EqualTo(BlockBytes));

        index.Unpin(index.Find(Key(2), 0));

        Assert.That(EvictAll(index), Is.EqualTo(new[] { Key(2) }));
    }

    [Test]
    public void Retain_WeakerAndShorter_ChangesNothing()
    {
        var index = Make();
        var id = Add(index, Key(1), retention: new BlockRetention(PinKind.Hard, 10, 100, 2));

        index.Retain(id, new BlockRetention(PinKind.Hard, 5, 50, 1), 0);
        index.Retain(id, new BlockRetention(PinKind.Soft, 20), 0);

        var block = index.Describe(id, 0);
        Assert.That((block.Pin, block.PinUntilMs, block.Priority), Is.EqualTo((PinKind.Hard, 10_000, 2)));
        Assert.That(block.ExpiresMs, Is.EqualTo(long.MaxValue), "the second had no end");
        var later = index.Describe(id, 15_000);
        Assert.That((later.Pin, later.PinUntilMs), Is.EqualTo((PinKind.Soft, 20_000)), "it outlasts the hard pin");
    }

    [Test]
    public void Retain_Child_KeepsThePrefixFromExpiringBeforeIt()
    {
        var index = Make();
        var keys = new[] { Key(1), Key(2) };
        Add(index, keys[0], retention: new BlockRetention(LifetimeSeconds: 10));
        var child = Add(index, keys[1], parent: keys[0], retention: new BlockRetention(LifetimeSeconds: 5));

        index.Retain(child, new BlockRetention(LifetimeSeconds: 60), 1_000);

        Assert.That(index.FindPrefix(keys, 60_999), Is.EqualTo(2));
        Assert.That(index.FindPrefix(keys, 61_000), Is.Zero);
    }

    [Test]
    public void TryPickVictim_Lease_ProtectsPrefixUntilItEnds()
    {
        var index = Make();
        var keys = Chain(index, 2);
        var tail = index.Find(keys[1], 0);
        index.Lease(tail, 1_000);
        index.Lease(tail, 500);

        Assert.That(index.TryPickVictim(999, out _), Is.False);
        Assert.That(index.TryPickVictim(1_000, out var victim), Is.True);
        Assert.That(victim, Is.EqualTo(tail));
    }

    [Test]
    public void TryPickVictim_Expired_GoBeforeOthersAndDespitePins()
    {
        var index = Make();
        Add(index, Key(1));
        var expiring = Add(index, Key(2), retention: new BlockRetention(PinKind.Hard, LifetimeSeconds: 2, Priority: 3));

        Assert.That(index.TryPickVictim(2_000, out var victim), Is.True);
        Assert.That(victim, Is.EqualTo(expiring));
    }

    [Test]
    public void TryPickVictim_ThousandsOfLeasesEndTogether_FindsThem()
    {
        var index = Make();
        for (var i = 1; i <= 5_000; i++)
        {
            index.Lease(Add(index, Key(i)), 10);
        }

        Assert.That(index.TryPickVictim(9, out _), Is.False);
        Assert.That(EvictAll(index, nowMs: 10), Has.Count.EqualTo(5_000));
    }

    [Test]
    public void TryPickVictim_TenantWritesTenTimesItsQuota_LosesOnlyItsOwn()
    {
        var index = Make(capacityBlocks: 100);
        var (greedy, modest) = (index.Tenant("greedy"), index.Tenant("modest"));
        index.SetQuota(greedy, 50 * BlockBytes);
        for (var i = 1; i <= 40; i++)
        {
            Add(index, Key(i), tenant: modest);
        }

        // The greedy tenant pins what it writes, too.
        for (var i = 1_000; i < 1_500; i++)
        {
            Add(index, Key(i), tenant: greedy, retention: Soft);
            EvictTo(index, 100);
        }

        Assert.That(index.CountOf(modest), Is.EqualTo(40));
        Assert.That(index.CountOf(greedy), Is.EqualTo(60), "the room that nobody else uses is lent");
        index.Check();
    }

    [Test]
    public void Tenant_WithoutAQuotaOfItsOwn_HasThatOfTheOptions()
    {
        var index = new RetentionIndex<long>(
            new RetentionOptions { CapacityBytes = 100 * BlockBytes, TenantQuotaBytes = 20 * BlockBytes });
        var (own, other) = (index.Tenant("own"), index.Tenant("other"));

        index.SetQuota(own, 50 * BlockBytes);
        Assert.That((index.QuotaOf(own), index.QuotaOf(other)), Is.EqualTo((50 * BlockBytes, 20 * BlockBytes)));
        index.SetQuota(own, 0);
        Assert.That(index.QuotaOf(own), Is.EqualTo(20 * BlockBytes));
        index.Check();
    }

    [Test]
    public void TryPickVictim_ThreeTenantsWithoutQuota_EachKeepsAFairShare()
    {
        var index = Make(capacityBlocks: 90);
        var tenants = Enumerable.Range(0, 3).Select(i => index.Tenant($"{i}")).ToArray();
        for (var i = 1; i <= 1_000; i++)
        {
            Add(index, Key(i), tenant: tenants[0]);
            EvictTo(index, 90);
            if (i % 10 == 0)
            {
                Add(index, Key(10_000 + i), tenant: tenants[1 + (i / 10 % 2)]);
                EvictTo(index, 90);
            }
        }

        Assert.That(tenants.Select(index.CountOf), Is.All.EqualTo(30).Within(1));
    }

    [Test]
    public void TryPickVictim_TenantIdleForLong_GivesItsRoomFirst()
    {
        var index = Make(capacityBlocks: 100, idleMs: 1_000);
        var (idle, active) = (index.Tenant("idle"), index.Tenant("active"));
        Add(index, Key(1), tenant: idle);
        for (var i = 10; i < 100; i++)
        {
            Add(index, Key(i), tenant: active, nowMs: 500);
        }

        index.TryPickVictim(999, out var early);
        index.TryPickVictim(1_000, out var late);

        Assert.That(index.Describe(early, 999).Tenant, Is.EqualTo(active));
        Assert.That(index.Describe(late, 1_000).Tenant, Is.EqualTo(idle));
    }

    [Test]
    public void SetBytesOfBlock_Smaller_CountsForLess()
    {
        var index = Make();
        var id = Add(index, Key(1), retention: Soft);

        index.SetBytesOfBlock(id, 40);

        Assert.That((index.Bytes, index.BytesOf(0), index.PinnedBytesOf(0, PinKind.Soft)), Is.EqualTo((40, 40, 40)));
        index.Check();
    }

    [Test]
    public void NextAfter_GhostsAndFreeEntries_GivesBlocksOnly()
    {
        var index = Make();
        Add(index, Key(2), parent: Key(1));
        index.Remove(Add(index, Key(3)));
        Add(index, Key(4));

        var found = new List<BlockKey>();
        for (var id = index.NextAfter(-1); id >= 0; id = index.NextAfter(id))
        {
            found.Add(index.KeyOf(id));
        }

        Assert.That(found, Is.EquivalentTo(new[] { Key(2), Key(4) }));
    }

    [Test]
    public void Remove_NoSuchBlock_Throws()
    {
        var index = Make();
        Add(index, Key(2), parent: Key(1));

        Assert.That(() => index.Remove(7), Throws.InvalidOperationException);
        Assert.That(
            () => index.Add(Key(9), default, -1, 0, default, 0), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(
            () => index.Add(Key(9), default, 1, 0, new BlockRetention(Priority: 4), 0),
            Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    private static RetentionIndex<long> Make(int capacityBlocks = 1_000, long idleMs = 3_600_000)
    {
        var index = new RetentionIndex<long>(
            new RetentionOptions { CapacityBytes = (long)capacityBlocks * BlockBytes, TenantIdleMs = idleMs });
        index.Tenant("");
        return index;
    }

    private static BlockKey Key(int number)
    {
        var tokens = new int[16];
        tokens[0] = number;
        return BlockKeyChain.Next(default, tokens);
    }

    private static int Add(
        RetentionIndex<long> index,
        BlockKey key,
        BlockKey parent = default,
        int tenant = 0,
        BlockRetention retention = default,
        long nowMs = 0) =>
        index.Add(key, parent, BlockBytes, tenant, retention, nowMs);

    private static BlockKey[] Chain(RetentionIndex<long> index, int blocks, int seed = 1)
    {
        var keys = new BlockKey[blocks];
        for (var i = 0; i < blocks; i++)
        {
            keys[i] = Key((seed * 1_000) + i);
            Add(index, keys[i], i == 0 ? default : keys[i - 1]);
        }

        return keys;
    }

    private static void EvictTo(RetentionIndex<long> index, int blocks)
    {
        while (index.Count > blocks && index.TryPickVictim(0, out var victim))
        {
            index.Evict(victim);
        }
    }

    private static List<BlockKey> EvictAll(RetentionIndex<long> index, long nowMs = 0)
    {
        var order = new List<BlockKey>();
        while (index.TryPickVictim(nowMs, out var victim))
        {
            order.Add(index.KeyOf(victim));
            index.Evict(victim);
        }

        index.Check();
        return order;
    }
}
