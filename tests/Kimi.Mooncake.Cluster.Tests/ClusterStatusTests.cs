using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>What a generator says of the cluster behind it.</summary>
[TestFixture]
internal sealed class ClusterStatusTests
{
    private SimulatedCluster _cluster = null!;

    [SetUp]
    public async Task StartAsync() => _cluster = await SimulatedCluster.StartAsync();

    [TearDown]
    public async Task StopAsync() => await _cluster.DisposeAsync();

    [Test]
    public async Task Status_BeforeAWorkerIsThere_IsNotReady()
    {
        var generator = _cluster.Generator();
        Assert.That(generator.Status().Ready, Is.False);
        Assert.That(generator.Status().NotReadyReason, Does.Contain("no worker"));

        await _cluster.AddAsync("d", NodeRoles.Decode);

        Assert.That(generator.Status().Ready);
        Assert.That(generator.Status().NotReadyReason, Is.Empty);
    }

    [Test]
    public async Task Status_AfterTheLastWorkerLeft_StaysReadyForAWhile()
    {
        var patient = _cluster.Generator();
        var strict = _cluster.Generator(new RetryOptions { RouteWaitMs = 0 });
        await _cluster.AddAsync("d", NodeRoles.Decode);
        Assert.That(patient.Status().Ready);

        await _cluster.KillAsync("d");

        Assert.That(patient.Status().Ready, "a worker that restarts costs no request");
        await Eventually.BecomesAsync(() => !strict.Status().Ready, "the end of patience");
    }

    [Test]
    public async Task Status_OfACluster_SumsItsNodes()
    {
        var generator = _cluster.Generator();
        await _cluster.AddAsync("p", NodeRoles.Prefill);
        await _cluster.AddAsync("d", NodeRoles.Decode);
        _cluster.NodeOf("d").State = SimulatedNode.Idle() with { Running = 2, BlocksFree = 96, BlocksHeld = 4000 };
        _cluster.NodeOf("p").State = SimulatedNode.Idle() with { Running = 1, Waiting = 3 };

        await Eventually.BecomesAsync(
            () => generator.Status() is { Running: 3, Waiting: 3, BlocksHeld: 4000, BlocksFree: 4192 }, "the sums");

        var status = generator.Status();
        Assert.That(status.BlocksTotal, Is.EqualTo(2 * 4096));
        Assert.That(status.Cluster!.Nodes.Select(n => (n.NodeId, n.Roles, n.Health)), Is.EquivalentTo(new[]
        {
            ("p", NodeRoles.Prefill, "ready"), ("d", NodeRoles.Decode, "ready"),
        }));
        Assert.That(status.Cluster.DegradedReason, Is.Empty);
    }

    [Test]
    public async Task Status_WithoutDecodeWorker_IsDegradedAndServes()
    {
        await _cluster.AddAsync("p", NodeRoles.Prefill);
        var generator = _cluster.Generator();
        var request = GenerationStream.Request(4, sampled: false);

        var events = await GenerationStream.Start(generator, request);

        Assert.That(GenerationStream.Text(events), Is.EqualTo(GenerationStream.Undisturbed(request)));
        Assert.That(generator.Status().Ready);
        Assert.That(generator.Status().Cluster!.DegradedReason, Does.Contain("decode"));
    }

    [Test]
    public async Task Counters_OfANodeThatLeft_StayInTheSum()
    {
        var generator = _cluster.Generator();
        await _cluster.AddAsync("d1", NodeRoles.Decode);
        await GenerationStream.Start(generator, GenerationStream.Request(4, sampled: false));
        await ServedAsync(generator, 1);
        await _cluster.AddAsync("d2", NodeRoles.Decode);

        await _cluster.KillAsync("d1");
        await GenerationStream.Start(generator, GenerationStream.Request(4, sampled: false));

        await ServedAsync(generator, 2);
        await Eventually.BecomesAsync(
            () => generator.Status().Metrics.Single(metric => metric.Name == "running_now").Value == 0, "its gauge");
    }

    [Test]
    public async Task Model_OfACluster_HasItsLayoutAndContext()
    {
        var own = SimulatedNode.ModelOf('a', blockTokens: 64) with { ContextLength = 1_000_000, ModelId = "own" };
        await using var generator = new ClusterTokenGenerator(
            own, new LocalRouter(_cluster.Conductor), _cluster.Workers(), new RemoteWorkerOptions(),
            new RetryOptions(), TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
        Assert.That(generator.Model, Is.EqualTo(own));

        await _cluster.AddAsync("d", NodeRoles.Decode);
        _ = generator.Status();

        Assert.That(generator.Model.KvLayout.BlockTokens, Is.EqualTo(SimulatedNode.BlockTokens));
        Assert.That(generator.Model.ContextLength, Is.EqualTo(8192));
        Assert.That(generator.Model.ModelId, Is.EqualTo("own"));
    }

    [Test]
    public async Task Cluster_OfAnotherModelFile_IsNotReady()
    {
        await using var generator = new ClusterTokenGenerator(
            SimulatedNode.ModelOf('b'), new LocalRouter(_cluster.Conductor), _cluster.Workers(),
            new RemoteWorkerOptions(), new RetryOptions(), TimeProvider.System,
            Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);

        await _cluster.AddAsync("d", NodeRoles.Decode);

        Assert.That(generator.Status().Ready, Is.False);
        Assert.That(generator.Status().NotReadyReason, Does.Contain("aaaa").And.Contain("bbbb"));
    }

    private static Task ServedAsync(ClusterTokenGenerator generator, int requests) => Eventually.BecomesAsync(
        () => generator.Status().Metrics.SingleOrDefault(metric => metric.Name == "served_total").Value == requests,
        $"{requests} requests in the sum");
}
