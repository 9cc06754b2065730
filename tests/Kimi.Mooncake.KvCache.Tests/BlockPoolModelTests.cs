using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.KvCache.Tests;

/// <summary>
/// Random operations on a pool beside a model of it that is too simple to be wrong: lists, and searches over them.
/// </summary>
[TestFixture]
internal sealed class BlockPoolModelTests
{
    private const int Steps = 24_000;

    [TestCase(1, 1)]
    [TestCase(2, 3)]
    [TestCase(3, 12)]
    [TestCase(4, 40)]
    public void BlockPool_RandomOperations_AgreesWithTheModel(int seed, int blocks)
    {
        var random = new Random(seed);
        var pool = new BlockPool(blocks);
        var model = new PoolModel(blocks);
        var owners = new List<Owner>();
        var reached = new int[5];
        for (var step = 0; step < Steps; step++)
        {
            var what = $"seed {seed}, step {step}";
            var action = random.Next(5);
            reached[action] += Apply(action, random, pool, model, owners, what) ? 1 : 0;
            pool.Check();
            var actual = (pool.FreeCount, pool.CachedCount, pool.HeldCount, pool.EvictedCount);
            Assert.That(actual, Is.EqualTo((model.Free, model.Cached, model.Held, model.Evicted)), what);
        }

        foreach (var owner in owners)
        {
            ReleaseAll(owner, pool, model);
        }

        pool.Check();
        Assert.That(pool.HeldCount, Is.Zero);
        Assert.That(reached, Is.All.GreaterThan(0), "every operation took place");
    }

    private static bool Apply(
        int action, Random random, BlockPool pool, PoolModel model, List<Owner> owners, string what)
    {
        var owner = owners.Count > 0 ? owners[random.Next(owners.Count)] : null;
        switch (action)
        {
            case 0 when owners.Count < 6:
                owners.Add(Begin(random, pool, model, what));
                return true;
            case 1 when owner is not null:
                return Grow(owner, pool, model, what);
            case 2 when owner is not null && owner.Nodes.Count < owner.Blocks.Count:
                Publish(owner, pool, model, what);
                return true;
            case 3 when owner is not null && owner.Nodes.Count > 0:
                var node = owner.Nodes[random.Next(owner.Nodes.Count)];
                pool.Hold(node);
                model.Hold(node);
                owner.Extra.Add(node);
                return true;
            case 4 when owner is not null:
                ReleaseAll(owner, pool, model);
                owners.Remove(owner);
                return true;
            default:
                return false;
        }
    }

    private static Owner Begin(Random random, BlockPool pool, PoolModel model, string what)
    {
        // Paths over a two-letter alphabet: many share prefixes, many are recomputed by several owners.
        var owner = new Owner(new string(Enumerable.Range(0, 8).Select(_ => (char)('a' + random.Next(2))).ToArray()));
        var table = new BlockTable();
        pool.HoldPrefix(owner.Keys, table);
        Assert.That(table.BlockIds.ToArray(), Is.EqualTo(model.HoldPrefix(owner.Path)), what);
        owner.Blocks.AddRange(table.BlockIds);
        owner.Nodes.AddRange(table.BlockIds);
        return owner;
    }

    private static bool Grow(Owner owner, BlockPool pool, PoolModel model, string what)
    {
        if (owner.Blocks.Count == owner.Path.Length)
        {
            return false;
        }

        var got = pool.TryAllocate(out var id);
        Assert.That(got, Is.EqualTo(model.Free + model.Cached > 0), what);
        if (got)
        {
            model.Allocate(id, what);
            owner.Blocks.Add(id);
        }

        return got;
    }

    private static void Publish(Owner owner, BlockPool pool, PoolModel model, string what)
    {
        var i = owner.Nodes.Count;
        var node = pool.Publish(owner.Blocks[i], owner.Keys[i], i == 0 ? PrefixTree.None : owner.Nodes[i - 1]);
        Assert.That(node, Is.EqualTo(model.Publish(owner.Blocks[i], owner.Path[..(i + 1)])), what);
        owner.Nodes.Add(node);
    }

    private static void ReleaseAll(Owner owner, BlockPool pool, PoolModel model)
    {
        for (var i = owner.Blocks.Count - 1; i >= 0; i--)
        {
            if (i >= owner.Nodes.Count || owner.Nodes[i] != owner.Blocks[i])
            {
                Release(owner.Blocks[i]);
            }

            if (i < owner.Nodes.Count)
            {
                Release(owner.Nodes[i]);
            }
        }

        // Extra holds end last and in any order: a tail may outlive the release of its prefix.
        foreach (var node in owner.Extra)
        {
            Release(node);
        }

        void Release(int id)
        {
            pool.Release(id);
            model.Release(id);
            pool.Check();
        }
    }

    private sealed class Owner
    {
        public Owner(string path)
        {
            Path = path;
            Keys = new BlockKey[path.Length];
            for (var i = 0; i < path.Length; i++)
            {
                var tokens = new int[16];
                tokens[0] = path[i];
                Keys[i] = BlockKeyChain.Next(i == 0 ? default : Keys[i - 1], tokens);
            }
        }

        public string Path { get; }

        public BlockKey[] Keys { get; }

        public List<int> Blocks { get; } = [];

        public List<int> Nodes { get; } = [];

        public List<int> Extra { get; } = [];
    }
}
