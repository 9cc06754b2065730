using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor.Tests;

[TestFixture]
internal sealed class PrefixIndexTests
{
    // More than a set holds without a bitset, and more than a word of a bitset.
    private const int Slots = 70;
    private const int Documents = 3;
    private const int Blocks = 4;
    private const int KeysMax = 10;

    [Test]
    public void PrefixIndex_RandomChanges_AgreesWithSetsOfKeys() =>
        ScriptProperty.Holds(scripts: 300, bytesMax: 1500, AgreesWithSets);

    [Test]
    public void Match_HoleInThePrefix_EndsThere()
    {
        var index = new PrefixIndex(2, KeysMax);
        index.Add(TestCluster.Key(1, 0), 0);
        index.Add(TestCluster.Key(1, 2), 0);
        index.Add(TestCluster.Key(1, 1), 1);
        var lengths = new int[2];
        index.Match(TestCluster.Keys(1, 3), lengths);
        Assert.That(lengths, Is.EqualTo(new[] { 1, 0 }));
    }

    [Test]
    public void Add_IndexFull_LeavesOutAndCounts()
    {
        var index = new PrefixIndex(2, 1);
        index.Add(TestCluster.Key(1, 0), 0);
        index.Add(TestCluster.Key(1, 1), 0);
        index.Add(TestCluster.Key(1, 0), 1);
        Assert.That((index.Count, index.Dropped, index.CountOf(1)), Is.EqualTo((1, 1L, 1L)));
    }

    [Test]
    public void Remove_FromALargeSet_GivesTheBitsetBack()
    {
        var index = new PrefixIndex(Slots, KeysMax);
        for (var slot = 0; slot < Slots; slot++)
        {
            index.Add(TestCluster.Key(1, 0), slot);
        }

        Assert.That(index.LargeSets, Is.EqualTo(1));
        for (var slot = 0; slot < Slots; slot++)
        {
            index.Remove(TestCluster.Key(1, 0), slot);
        }

        Assert.That((index.Count, index.LargeSets), Is.EqualTo((0, 0)));
    }

    private static void AgreesWithSets(byte[] script)
    {
        var index = new PrefixIndex(Slots, Documents * Blocks);
        var model = Enumerable.Range(0, Slots).Select(_ => new HashSet<BlockKey>()).ToArray();
        for (var place = 0; place + 2 < script.Length; place += 3)
        {
            var slot = script[place] % Slots;
            var key = TestCluster.Key(script[place + 1] % Documents, script[place + 1] / Documents % Blocks);
            switch (script[place + 2] % 16)
            {
                case < 11:
                    index.Add(key, slot);
                    model[slot].Add(key);
                    break;
                case < 15:
                    index.Remove(key, slot);
                    model[slot].Remove(key);
                    break;
                default:
                    index.RemoveNode(slot);
                    model[slot].Clear();
                    break;
            }
        }

        AssertEqual(index, model);
    }

    private static void AssertEqual(PrefixIndex index, HashSet<BlockKey>[] model)
    {
        var lengths = new int[Slots];
        for (var document = 0; document < Documents; document++)
        {
            var keys = TestCluster.Keys(document, Blocks);
            index.Match(keys, lengths);
            Assert.That(lengths, Is.EqualTo(model.Select(node => keys.TakeWhile(node.Contains).Count())));
        }

        Assert.That(Enumerable.Range(0, Slots).Select(index.CountOf), Is.EqualTo(model.Select(node => node.Count)));
        Assert.That(index.Count, Is.EqualTo(model.SelectMany(node => node).Distinct().Count()));
    }
}
