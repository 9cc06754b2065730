using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Placement;

namespace Kimi.Mooncake.KvCache.Tests;

[TestFixture]
internal sealed class ReplicaPlacementTests
{
    [Test]
    public void PlacementGroup_EveryBlock_LiesInOneGroupOfBoundedLength()
    {
        var first = 0;
        for (var index = 0; index < 1000; index++)
        {
            first = PlacementGroup.EndOf(first) == index ? index : first;
            Assert.That(PlacementGroup.FirstOf(index), Is.EqualTo(first), $"block {index}");
            Assert.That(PlacementGroup.EndOf(index) - first, Is.InRange(8, 64));
        }

        Assert.That(
            Enumerable.Range(0, 200).Select(PlacementGroup.FirstOf).Distinct(),
            Is.EqualTo(new[] { 0, 8, 16, 32, 64, 128, 192 }));
    }

    [Test]
    public void Choose_MoreHostsThanReplicas_NeverTakesTwoOnOneHost()
    {
        var nodes = Enumerable.Range(0, 9).Select(i => new StoreNodeAddress($"http://n{i}", $"host{i % 3}")).ToArray();
        var placement = new ReplicaPlacement(nodes);
        foreach (var key in Keys(500))
        {
            var chosen = new int[3];

            Assert.That(placement.Choose(key, chosen), Is.EqualTo(3));
            Assert.That(chosen.Select(node => placement.Nodes[node].Host), Is.Unique);
        }
    }

    [Test]
    public void Choose_FewerHostsThanReplicas_TakesEveryHostAndNoNodeTwice()
    {
        var placement = new ReplicaPlacement(
            [new("http://a", "one"), new("http://b", "one"), new("http://c", "one"), new("http://d", "two")]);
        foreach (var key in Keys(200))
        {
            var chosen = new int[3];
            placement.Choose(key, chosen);

            Assert.That(chosen, Is.Unique);
            Assert.That(
                chosen[..2].Select(node => placement.Nodes[node].Host), Is.EquivalentTo(new[] { "one", "two" }));
        }

        Assert.That(placement.Choose(Keys(1)[0], new int[6]), Is.EqualTo(4));
        Assert.That(new ReplicaPlacement([]).Choose(Keys(1)[0], new int[2]), Is.Zero);
    }

    [Test]
    public void Choose_NodesKnownInAnotherOrder_ChoosesAlikeAndEvenly()
    {
        var nodes = Enumerable.Range(0, 3).Select(i => new StoreNodeAddress($"http://127.0.0.1:{i}", "")).ToArray();
        var (here, there) = (new ReplicaPlacement(nodes), new ReplicaPlacement(nodes.Reverse()));
        var counts = new int[3];
        foreach (var key in Keys(3000))
        {
            int[] mine = [0, 0], theirs = [0, 0];
            here.Choose(key, mine);
            there.Choose(key, theirs);

            Assert.That(theirs, Is.EqualTo(mine));
            counts[mine[0]]++;
        }

        Assert.That(counts, Has.All.InRange(850, 1150));
    }

    [Test]
    public void Choose_OneNodeGoes_MovesOnlyItsGroups()
    {
        var before = new ReplicaPlacement([new("http://a", ""), new("http://b", ""), new("http://c", "")]);
        var after = new ReplicaPlacement([new("http://a", ""), new("http://c", "")]);
        foreach (var key in Keys(500))
        {
            int[] was = [0, 0], now = [0];
            before.Choose(key, was);
            after.Choose(key, now);

            // The second replica takes over: it has the blocks already.
            var kept = was.Select(node => before.Nodes[node].Address).First(address => address != "http://b");
            Assert.That(after.Nodes[now[0]].Address, Is.EqualTo(kept));
        }
    }

    private static BlockKey[] Keys(int count)
    {
        var layout = new KvLayout(KvElementType.F32, 1, 4, 0, 16);
        var chain = new BlockKeyChain(BlockKeyChain.Root("f", layout, ""), 16);
        chain.Extend([.. Enumerable.Range(0, count * 16)]);
        return chain.Keys.ToArray();
    }
}
