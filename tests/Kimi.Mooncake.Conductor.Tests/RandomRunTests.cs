namespace Kimi.Mooncake.Conductor.Tests;

/// <summary>Random nodes, events, requests and failures; FsCheck prints the seed and a short failing script.</summary>
[TestFixture]
internal sealed class RandomRunTests
{
    [Test]
    public void ConductorCore_RandomScript_KeepsItsPromises() =>
        ScriptProperty.Holds(scripts: 300, bytesMax: 2000, script => new RandomRun(script).Play());

    [Test]
    public void ConductorCore_SameScriptTwice_DecidesTheSame() =>
        ScriptProperty.Holds(scripts: 50, bytesMax: 2000, script =>
        {
            var (one, other) = (new RandomRun(script), new RandomRun(script));
            one.Play();
            other.Play();
            Assert.That(other.Log, Is.EqualTo(one.Log));
        });

    [Test]
    public void RandomRun_LongScript_ReachesEveryCase()
    {
        const int Seed = 3;
        var script = new byte[60_000];
        new Random(Seed).NextBytes(script);
        var run = new RandomRun(script);
        run.Play();
        var counters = run.Counters;
        Assert.Multiple(() =>
        {
            Assert.That(counters.Routed, Is.GreaterThan(100), $"seed {Seed}");
            Assert.That(counters.RoutedLocal, Is.GreaterThan(10));
            Assert.That(counters.RoutedJoined, Is.GreaterThan(10));
            Assert.That(counters.RoutedWithSource, Is.GreaterThan(10));
            Assert.That(counters.RoutedDegraded, Is.GreaterThan(10));
            Assert.That(counters.Abandoned, Is.GreaterThan(10));
            Assert.That(counters.RefusedQueueFull, Is.GreaterThan(10));
            Assert.That(counters.RefusedQueueTimeout, Is.GreaterThan(10));
            Assert.That(counters.RefusedNoWorker, Is.GreaterThan(10));
            Assert.That(counters.RefusedTooLong, Is.GreaterThan(10));
            Assert.That(counters.NodesLost, Is.GreaterThan(10));
            Assert.That(counters.RegistrationsRefused, Is.GreaterThan(10));
            Assert.That(counters.KvResyncs, Is.GreaterThan(10));
        });
    }
}
