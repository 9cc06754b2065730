namespace Kimi.Mooncake.Engine.Tests;

/// <summary>
/// Thousands of requests of all modes and several tenants, with shared prefixes, interrupted and cancelled at random,
/// over pools that are too small, other workers that are slow or fail, and a store that delays, refuses and loses:
/// whatever is not cancelled or failed comes out as if it had been alone, and nothing is left behind.
/// </summary>
[TestFixture]
internal sealed class RandomRunTests
{
    [TestCase(1, 14, 1500, true, false)]
    [TestCase(2, 14, 1500, true, false)]
    [TestCase(3, 20, 1500, false, false)]
    [TestCase(4, 40, 1500, true, false)]
    [TestCase(5, 200, 1500, true, false)]
    [TestCase(6, 14, 1500, true, true)]
    [TestCase(7, 20, 1500, false, true)]
    [TestCase(8, 28, 1500, true, true)]
    [TestCase(9, 60, 1500, true, true)]
    [TestCase(10, 200, 1500, false, true)]
    public void Step_RandomRequests_ComeOutAsAlone(int seed, int blocks, int requests, bool store, bool modes)
    {
        // Arrange
        var life = new RandomLife(seed, blocks, store, modes);

        // Act
        life.Go(requests);
        life.Run.Engine.BeginDrain();
        life.Run.RunUntilIdle();

        // Assert
        Assert.That(life.Run.Engine.IsDrained, Is.True);
        AssertRarePathsWereTaken(life.Run.Counters, requests, blocks, store, modes);
    }

    private static void AssertRarePathsWereTaken(
        EngineCounters counters, int requests, int blocks, bool store, bool modes)
    {
        TestContext.Out.WriteLine(counters);
        var ended = counters.FinishedStop + counters.FinishedLength + counters.FinishedCancelled
            + counters.FinishedFailed + counters.PrefillsExported;
        Assert.That(ended, Is.EqualTo(requests));
        Assert.That(counters.CachedTokens, Is.GreaterThan(0));
        Assert.That(counters.BlocksEvicted, Is.GreaterThan(0));
        Assert.That(counters.SettledTokens, Is.GreaterThan(0));
        if (blocks < 28)
        {
            Assert.That(counters.Preemptions, Is.GreaterThan(0));
            Assert.That(counters.ReplayedTokens, Is.GreaterThan(0));
            Assert.That(counters.SettlingDropped, Is.GreaterThan(0));
        }

        if (store)
        {
            Assert.That(counters.BlocksLoaded, Is.GreaterThan(0));
            Assert.That(counters.BlocksLoadMissed, Is.GreaterThan(0));
            Assert.That(counters.BlocksSaveFailed, Is.GreaterThan(0));
        }

        if (store && blocks < 28)
        {
            Assert.That(counters.SwapsFailed, Is.GreaterThan(0));
            Assert.That(counters.SwappedTokens, Is.GreaterThan(0));
        }

        if (modes)
        {
            Assert.That(counters.PrefillsExported, Is.GreaterThan(0));
            Assert.That(counters.PrefillsImported, Is.GreaterThan(0));
            Assert.That(counters.FinishedFailed, Is.GreaterThan(0));
        }
    }
}
