using Kimi.Mooncake.Host.Bench;

namespace Kimi.Mooncake.Host.Tests.Bench;

[TestFixture]
internal sealed class HitRateTests
{
    [Test]
    public void PerSecond_RequestsOfUnequalLength_WeighsTheirTokens()
    {
        var hits = new HitRate(3);
        hits.Add(0.2, 100, 100);
        hits.Add(0.9, 300, 0);
        hits.Add(2.5, 10, 5);

        Assert.That(hits.PerSecond(), Is.EqualTo(new[] { 0.25, 0.25, 0.5 }), "a second without requests is as before");
        Assert.That(hits.Over(0, 3), Is.EqualTo(105.0 / 410));
    }

    [TestCase(new[] { 90, 90, 90, 90, 90, 90, 90, 90, 90, 90 }, 0, 0.9)]
    [TestCase(new[] { 90, 90, 90, 0, 90, 90, 90, 90, 90, 90 }, 4, 0.6)]
    [TestCase(new[] { 90, 90, 0, 0, 0, 90, 90, 90, 90, 90 }, 5, 0.0)]
    [TestCase(new[] { 90, 90, 90, 90, 90, 90, 90, 90, 90, 0 }, -1, 0.6)]
    public void RecoveredAfter_ALoss_IsTheEndOfTheLastLowWindow(int[] percent, int seconds, double lowest)
    {
        var hits = new HitRate(percent.Length);
        for (var second = 0; second < percent.Length; second++)
        {
            hits.Add(second, 100, percent[second]);
        }

        Assert.That(hits.RecoveredAfter(2, 0.88), Is.EqualTo(seconds < 0 ? null : seconds));
        Assert.That(hits.LowestAfter(2), Is.EqualTo(lowest).Within(1e-9));
    }
}
