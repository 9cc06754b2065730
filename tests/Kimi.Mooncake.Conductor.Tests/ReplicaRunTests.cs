namespace Kimi.Mooncake.Conductor.Tests;

/// <summary>Random store nodes, requests and failures; FsCheck prints the seed and a short failing script.</summary>
[TestFixture]
internal sealed class ReplicaRunTests
{
    [Test]
    public void ConductorCore_RandomStoreNodes_PlacesReplicasAndComesToRest() =>
        ScriptProperty.Holds(scripts: 60, bytesMax: 600, script => new ReplicaRun(script).Play());

    [Test]
    public void ConductorCore_SameStoreNodesTwice_OrdersTheSame() =>
        ScriptProperty.Holds(scripts: 10, bytesMax: 600, script =>
        {
            var (one, other) = (new ReplicaRun(script), new ReplicaRun(script));
            one.Play();
            other.Play();
            Assert.That(other.Log, Is.EqualTo(one.Log));
        });

    [Test]
    public void ReplicaRun_LongScript_GivesManyOrders()
    {
        const int Seed = 5;
        var script = new byte[6000];
        new Random(Seed).NextBytes(script);
        var run = new ReplicaRun(script);
        run.Play();

        Assert.That(run.Orders, Is.GreaterThan(100), $"seed {Seed}");
    }
}
