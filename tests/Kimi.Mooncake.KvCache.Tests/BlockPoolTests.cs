using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.KvCache.Tests;

[TestFixture]
internal sealed class BlockPoolTests
{
    [Test]
    public void TryAllocate_UntilEmpty_GivesEveryBlockOnce()
    {
        var pool = new BlockPool(5);
        var ids = new List<int>();
        while (pool.TryAllocate(out var id))
        {
            ids.Add(id);
            pool.Check();
        }

        Assert.That(ids.Order(), Is.EqualTo(Enumerable.Range(0, 5)));
        Assert.That(pool.HeldCount, Is.EqualTo(5));
    }

    [Test]
    public void Release_PrivateBlock_IsFreeAgain()
    {
        var pool = new BlockPool(1);
        Assert.That(pool.TryAllocate(out var id), Is.True);
        pool.Release(id);
        Assert.That(pool.FreeCount, Is.EqualTo(1));
        Assert.That(() => pool.Release(id), Throws.InvalidOperationException);
    }

    [Test]
    public void Release_PublishedPrefix_StaysCachedAndIsFound()
    {
        var pool = new BlockPool(4);
        var keys = Keys("a", 3);
        ReleaseTailFirst(pool, PublishChain(pool, keys));

        Assert.That((pool.FreeCount, pool.CachedCount, pool.HeldCount), Is.EqualTo((1, 3, 0)));
        var table = new BlockTable();
        Assert.That(pool.HoldPrefix(keys, table), Is.EqualTo(3));
        Assert.That(table.BlockIds.ToArray().Select(id => pool.HoldsOf(id)), Is.All.EqualTo(1));
        pool.Check();
    }

    [Test]
    public void Events_BlocksEnterAndLeave_AreToldInOrderAndOnce()
    {
        // Arrange: four blocks for two chains of three; the second publishes a key that is there.
        var pool = new BlockPool(4) { RecordsEvents = true };
        var (a, b) = (Keys("a", 3), Keys("b", 3));
        ReleaseTailFirst(pool, PublishChain(pool, a));
        Assert.That(pool.TryAllocate(out var twin), Is.True);
        pool.Release(pool.Publish(twin, a[0], PrefixTree.None));
        pool.Release(twin);
        Assert.That(Events(pool), Is.EqualTo(a.Select(key => new KvEvent(key, Removed: false))));
        pool.ClearEvents();

        // Act
        PublishChain(pool, b);

        // Assert: a loses two blocks for b's second and third, its tail first.
        Assert.That(Events(pool), Is.EqualTo(new KvEvent[]
        {
            new(b[0], false), new(a[2], true), new(b[1], false), new(a[1], true), new(b[2], false),
        }));
    }

    [Test]
    public void Events_NotAskedFor_AreNotRecorded()
    {
        var pool = new BlockPool(4);
        PublishChain(pool, Keys("a", 3));
        Assert.That(pool.Events.Length, Is.Zero);
    }

    [Test]
    public void TryAllocate_NothingFree_EvictsTheTailOfTheLeastRecentlyUsed()
    {
        // Arrange: a is used again after b, so b goes first, from its tail.
        var pool = new BlockPool(4);
        var a = Keys("a", 2);
        var b = Keys("b", 2);
        ReleaseTailFirst(pool, PublishChain(pool, a));
        ReleaseTailFirst(pool, PublishChain(pool, b));
        var table = new BlockTable();
        pool.HoldPrefix(a, table);
        ReleaseTailFirst(pool, table);

        // Act, Assert
        foreach (var (left, inA, inB) in new[] { (3, 2, 1), (2, 2, 0), (1, 1, 0), (0, 0, 0) })
        {
            Assert.That(pool.TryAllocate(out _), Is.True);
            pool.Check();
            Assert.That(pool.Tree.Count, Is.EqualTo(left));
            Assert.That((pool.Tree.Match(a), pool.Tree.Match(b)), Is.EqualTo((inA, inB)));
        }

        Assert.That(pool.TryAllocate(out _), Is.False);
        Assert.That(pool.EvictedCount, Is.EqualTo(4));
    }

    [Test]
    public void TryAllocate_SuffixHeld_NeverEvictsItsPrefix()
    {
        // Arrange: only the tail is held, as by a save that outlives its sequence.
        var pool = new BlockPool(3);
        var keys = Keys("a", 3);
        var table = PublishChain(pool, keys);
        pool.Hold(table[2]);
        ReleaseTailFirst(pool, table);

        // Act, Assert
        Assert.That(pool.HeldCount, Is.EqualTo(3));
        Assert.That(pool.TryAllocate(out _), Is.False);
        pool.Release(table[2]);
        pool.Check();
        Assert.That(pool.CachedCount, Is.EqualTo(3));
        Assert.That(pool.TryAllocate(out var id), Is.True);
        Assert.That(id, Is.EqualTo(table[2]));
    }

    [Test]
    public void Publish_KeyIsThere_KeepsTheExistingAndLeavesTheDuplicatePrivate()
    {
        var pool = new BlockPool(3);
        var keys = Keys("a", 1);
        var first = PublishChain(pool, keys);
        Assert.That(pool.TryAllocate(out var duplicate), Is.True);

        var node = pool.Publish(duplicate, keys[0], PrefixTree.None);

        Assert.That(node, Is.EqualTo(first[0]));
        Assert.That(pool.HoldsOf(node), Is.EqualTo(2));
        Assert.That(pool.HoldsOf(duplicate), Is.EqualTo(1));
        pool.Release(duplicate);
        Assert.That(pool.FreeCount, Is.EqualTo(2));
        pool.Check();
    }

    [Test]
    public void Publish_UnderABlockThatIsNotHeld_Throws()
    {
        var pool = new BlockPool(3);
        var keys = Keys("a", 2);
        var table = PublishChain(pool, keys.AsSpan(0, 1));
        pool.Release(table[0]);
        Assert.That(pool.TryAllocate(out var id), Is.True);

        Assert.That(() => pool.Publish(id, keys[1], table[0]), Throws.InvalidOperationException);
        Assert.That(() => pool.Publish(table[0], keys[0], PrefixTree.None), Throws.InvalidOperationException);
    }

    [Test]
    public void Match_KeyUnderAnotherParent_IsNoPrefix()
    {
        var pool = new BlockPool(3);
        var keys = Keys("a", 3);
        PublishChain(pool, keys);

        Assert.That(pool.Tree.Match([keys[1], keys[2]]), Is.Zero, "the second block is not a first block");
        Assert.That(pool.Tree.Match([keys[0], keys[2]]), Is.EqualTo(1), "the third is not under the first");
    }

    private static KvEvent[] Events(BlockPool pool) => pool.Events.ToArray();

    private static BlockTable PublishChain(BlockPool pool, ReadOnlySpan<BlockKey> keys)
    {
        var table = new BlockTable();
        foreach (var key in keys)
        {
            Assert.That(pool.TryAllocate(out var id), Is.True);
            table.Append(pool.Publish(id, key, table.Count == 0 ? PrefixTree.None : table[table.Count - 1]));
            pool.Check();
        }

        return table;
    }

    private static void ReleaseTailFirst(BlockPool pool, BlockTable table)
    {
        for (var i = table.Count - 1; i >= 0; i--)
        {
            pool.Release(table[i]);
            pool.Check();
        }
    }

    private static BlockKey[] Keys(string salt, int count)
    {
        var layout = new KvLayout(KvElementType.F32, 1, 4, 4, 16);
        var chain = new BlockKeyChain(BlockKeyChain.Root("m", layout, salt), 16);
        chain.Extend(new int[16 * count]);
        return chain.Keys.ToArray();
    }
}
