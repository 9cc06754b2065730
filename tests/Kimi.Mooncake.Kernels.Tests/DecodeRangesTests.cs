using Kimi.Mooncake.Kernels.Cpu.Absorbed;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>How contexts are cut into ranges, and ranges into groups of heads.</summary>
internal sealed class DecodeRangesTests
{
    [Test]
    public void Cut_SeveralRows_CoversEveryPositionOnceInOrder()
    {
        int[] contexts = [1, 1024, 1025, 3000];
        var ranges = new DecodeRanges();

        ranges.Cut([new(0, 5000)]);
        ranges.Cut([.. contexts.Select(context => new DecodeRow(0, context))]);

        Assert.That(ranges.Count, Is.EqualTo(7));
        Assert.That(ranges.Keys, Is.EqualTo(contexts.Sum()));
        for (var row = 0; row < contexts.Length; row++)
        {
            var next = 0;
            for (var range = ranges.First(row); range < ranges.First(row + 1); range++)
            {
                Assert.That(ranges[range].Row, Is.EqualTo(row));
                Assert.That(ranges[range].Start, Is.EqualTo(next));
                Assert.That(ranges[range].End - next, Is.InRange(1, DecodeRanges.RangeKeys));
                next = ranges[range].End;
            }

            Assert.That(next, Is.EqualTo(contexts[row]));
        }
    }

    // One range for two members; a rest that either takes besides; enough ranges for all; one member; few heads; a rest
    // that keeps one member waiting; more members than ranges and groups.
    [TestCase(1024, 1, 2, 2, 2)]
    [TestCase(4097, 1, 2, 2, 1)]
    [TestCase(4096, 8, 8, 2, 1)]
    [TestCase(700, 1, 8, 1, 1)]
    [TestCase(1024, 1, 1, 4, 1)]
    [TestCase(1900, 1, 8, 2, 2)]
    [TestCase(1024, 1, 8, 64, 8)]
    public void Parts_ContextsAndMembers_SplitOnlyWhereItSavesTime(
        int context, int rows, int groups, int members, int expected)
    {
        var ranges = new DecodeRanges();
        ranges.Cut([.. Enumerable.Repeat(new DecodeRow(0, context), rows)]);

        Assert.That(ranges.Parts(groups, members), Is.EqualTo(expected));
    }

    [Test]
    public void Parts_AnyContext_AreAtMostTheGroups(
        [Values(1, 2, 3, 5, 8)] int groups, [Values(1, 2, 7, 96)] int members)
    {
        var ranges = new DecodeRanges();
        for (var context = 1; context < 6000; context += 97)
        {
            ranges.Cut([new(0, context)]);

            Assert.That(ranges.Parts(groups, members), Is.InRange(1, groups), $"context {context}");
        }
    }
}
