using Kimi.Mooncake.Worker.Peers;

namespace Kimi.Mooncake.Worker.Tests.Peers;

public sealed class PullRuleTests
{
    [TestCase(1_000_000, 1_000_000, 1.01, true)]
    [TestCase(1_000_000, 1_000_000, 0.99, false)]
    [TestCase(1_000_000, 0, 0.01, true, TestName = "IsWorthPulling_UnknownRate_FindsOut")]
    [TestCase(1_000_000, 1, 0, true, TestName = "IsWorthPulling_UnknownCost_FindsOut")]
    [TestCase(0, 1, 0.01, true)]
    public void IsWorthPulling_RateAndCost_TakesTheFaster(long bytes, double rate, double seconds, bool worth) =>
        Assert.That(PullRule.IsWorthPulling(bytes, rate, seconds), Is.EqualTo(worth));

    [Test]
    public void Rate_SeveralTransfers_TendsToTheLatestAndIsForgotten()
    {
        var clock = new TestClock();
        var rate = new TransferRate(TimeSpan.FromSeconds(60), clock);
        Assert.That(rate.BytesPerSecond, Is.Zero);

        rate.Add(1000, TimeSpan.FromSeconds(1));
        Assert.That(rate.BytesPerSecond, Is.EqualTo(1000).Within(0.01));
        for (var i = 0; i < 20; i++)
        {
            rate.Add(4000, TimeSpan.FromSeconds(1));
        }

        Assert.That(rate.BytesPerSecond, Is.EqualTo(4000).Within(20));
        clock.Advance(TimeSpan.FromSeconds(60));
        Assert.That(rate.BytesPerSecond, Is.Zero);
    }
}
