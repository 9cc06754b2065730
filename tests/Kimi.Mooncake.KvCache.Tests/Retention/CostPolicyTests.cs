using Kimi.Mooncake.KvCache.Retention;

namespace Kimi.Mooncake.KvCache.Tests.Retention;

[TestFixture]
internal sealed class CostPolicyTests
{
    private const int BlockTokens = 64;
    private const int Blocks = 100;
    private const int DepthOfTwiceTheCost = EvictionPolicy.TokensOfTwiceTheCost / BlockTokens;

    [Test]
    public void Score_NeverUsed_IsWhenItCame()
    {
        var policy = Aged(out var sequence);

        Assert.That(policy.Score(Use(sequence, uses: 0, depth: 5_000)), Is.EqualTo(sequence));
    }

    [Test]
    public void Score_UsedMoreOrDeeper_IsHigher()
    {
        var policy = Aged(out var sequence);

        var once = policy.Score(Use(sequence, uses: 1));
        var threeTimes = policy.Score(Use(sequence, uses: 3));
        var deep = policy.Score(Use(sequence, uses: 1, depth: DepthOfTwiceTheCost));

        Assert.That(once, Is.GreaterThan(sequence));
        Assert.That(threeTimes - sequence, Is.EqualTo(2 * (once - sequence)).Within(1), "four times as much saved");
        Assert.That(deep, Is.EqualTo(threeTimes), "a block that costs twice as much and was wanted half as often");
    }

    [Test]
    public void Score_LowerThanBefore_StaysAsItWas()
    {
        var policy = Aged(out var sequence);

        Assert.That(policy.Score(Use(sequence, uses: 1, score: long.MaxValue >> 4)), Is.EqualTo(long.MaxValue >> 4));
    }

    [TestCase(1)]
    [TestCase(0)]
    public void Weight_EvictedBlocksComeBack_FollowsTheirKind(int usesOfThoseThatComeBack)
    {
        var policy = Aged(out var sequence);
        var before = policy.Weight;

        for (var i = 0; i < 4 * Blocks; i++)
        {
            var hash = Hash(10_000 + i);
            policy.Evicted(new BlockUse(sequence, usesOfThoseThatComeBack, 0, hash, sequence - 50), Blocks);
            policy.Score(new BlockUse(++sequence, 0, 0, hash, 0));
        }

        Assert.That(before, Is.GreaterThan(0).And.LessThan(1));
        Assert.That(policy.Weight, Is.EqualTo(usesOfThoseThatComeBack == 0 ? 0 : 1));
    }

    [Test]
    public void Weight_BlocksComeBackLongAfter_Stays()
    {
        var policy = Aged(out var sequence);
        var before = policy.Weight;
        policy.Evicted(new BlockUse(sequence, 1, 0, Hash(7), sequence - 50), Blocks);

        policy.Score(new BlockUse(sequence + 1_000_000, 0, 0, Hash(7), 0));

        Assert.That(policy.Weight, Is.EqualTo(before));
    }

    [Test]
    public void EvictionHistory_MoreThanItHolds_KnowsTheLatest()
    {
        var history = new EvictionHistory();
        for (var i = 0; i < 20 * Blocks; i++)
        {
            history.Add(new BlockUse(i, i % 2, 0, Hash(i), 0), Blocks);
        }

        var (found, wrong) = (0, 0);
        for (var i = 0; i < 20 * Blocks; i++)
        {
            if (history.TryTake(new BlockUse(20 * Blocks, 0, 0, Hash(i), 0), long.MaxValue, out var wasUsed))
            {
                found++;
                wrong += wasUsed == (i % 2 == 1) ? 0 : 1;
            }
        }

        Assert.That(found, Is.InRange(Blocks / 2, 3 * Blocks));
        Assert.That(wrong, Is.Zero);
        Assert.That(history.TryTake(new BlockUse(0, 0, 0, Hash(1), 0), long.MaxValue, out _), Is.False, "taken");
    }

    // A policy that has seen unused blocks stay for a while.
    private static CostPolicy Aged(out long sequence)
    {
        var policy = new CostPolicy(BlockTokens);
        for (sequence = 1_000; sequence < 2_000; sequence++)
        {
            policy.Evicted(new BlockUse(sequence, 0, 0, Hash((int)sequence), sequence - 400), Blocks);
        }

        return policy;
    }

    private static BlockUse Use(long sequence, int uses, int depth = 0, long score = 0) =>
        new(sequence, uses, depth, 1, score);

    private static ulong Hash(int number) => (ulong)(number + 1) * 0x9E3779B97F4A7C15;
}
