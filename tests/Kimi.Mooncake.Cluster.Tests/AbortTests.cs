using System.Diagnostics;
using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>What ends a request from outside reaches everybody who works for it.</summary>
[TestFixture]
internal sealed class AbortTests
{
    private static readonly TimeSpan AbortMax = TimeSpan.FromSeconds(1);

    [TestCase(0)]
    [TestCase(2)]
    public async Task Abort_OfARunningRequest_ReachesItsWorker(int afterTokens)
    {
        await using var cluster = await SimulatedCluster.StartAsync();
        var worker = await cluster.AddAsync(
            "d", NodeRoles.Decode, new SimulatedWorker { HangsAfterTokens = afterTokens });
        var router = new LocalRouter(cluster.Conductor);
        using var abort = new CancellationTokenSource();
        var stream = GenerationStream.Start(
            cluster.Generator(router: router), GenerationStream.Request(4, sampled: false), abort.Token);
        await worker.Hanging.Task.WaitAsync(Eventually.Patience);

        var start = Stopwatch.GetTimestamp();
        await abort.CancelAsync();
        await worker.Cancelled.Task.WaitAsync(Eventually.Patience);

        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(AbortMax));
        await Assert.ThatAsync(() => stream, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(cluster.Conductor.Leases, Is.Zero);
        await cluster.AssertEmptyAsync();
    }

    [Test]
    public async Task Reader_ThatStopsReading_EndsTheCall()
    {
        await using var cluster = await SimulatedCluster.StartAsync();
        var worker = await cluster.AddAsync("d", NodeRoles.Decode, new SimulatedWorker { HangsAfterTokens = 1 });
        var events = cluster.Generator().GenerateAsync(
            GenerationStream.Request(4, sampled: false), CancellationToken.None).GetAsyncEnumerator();
        Assert.That(await events.MoveNextAsync());

        await events.DisposeAsync();

        await worker.Cancelled.Task.WaitAsync(Eventually.Patience);
        await cluster.AssertEmptyAsync();
    }

    [Test]
    public async Task Abort_WhileItWaitsForWorkers_LeavesTheQueue()
    {
        await using var cluster = await SimulatedCluster.StartAsync(
            SimulatedCluster.Options with { NoWorkerGraceMs = 600_000 });
        using var abort = new CancellationTokenSource();
        var stream = GenerationStream.Start(
            cluster.Generator(), GenerationStream.Request(4, sampled: false), abort.Token);
        await Eventually.BecomesAsync(() => cluster.Conductor.State().Waiting == 1, "the request in the queue");

        await abort.CancelAsync();

        await Assert.ThatAsync(() => stream, Throws.InstanceOf<OperationCanceledException>());
        await cluster.AssertEmptyAsync();
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task Heartbeats_Missing_MoveTheRequestElsewhere(bool isDecode)
    {
        // The node's process stands still: its connection is there, and nothing comes.
        var time = new ManualTime();
        await using var cluster = await SimulatedCluster.StartAsync(SimulatedCluster.Options, time);
        var still = await LoopbackServer.StartAsync(new SimulatedWorker());
        var hanging = new SimulatedWorker { HangsAfterTokens = isDecode ? 2 : 0 };
        await using var server = await LoopbackServer.StartAsync(hanging);
        var other = new SimulatedWorker();
        await using var otherServer = await LoopbackServer.StartAsync(other);
        var first = Join(cluster, "a", isDecode ? NodeRoles.Decode : NodeRoles.Prefill, (isDecode ? server : still));
        var second = Join(cluster, "b", NodeRoles.Decode, isDecode ? otherServer : server);
        cluster.Conductor.Heartbeat(first, SimulatedNode.Idle());
        var request = GenerationStream.Request(4, sampled: false);
        if (!isDecode)
        {
            cluster.Conductor.Heartbeat(second, SimulatedNode.Idle());
        }

        var stream = GenerationStream.Start(cluster.Generator(), request);
        await hanging.Hanging.Task.WaitAsync(Eventually.Patience);
        hanging.HangsAfterTokens = null;
        for (var silent = 0; silent < SimulatedCluster.Options.SuspectAfterMs; silent += 100)
        {
            cluster.Conductor.Heartbeat(second, SimulatedNode.Idle());
            time.Advance(TimeSpan.FromMilliseconds(100));
        }

        cluster.Conductor.Heartbeat(second, SimulatedNode.Idle());
        time.Advance(TimeSpan.FromMilliseconds(100));

        Assert.That(GenerationStream.Text(await stream), Is.EqualTo(GenerationStream.Undisturbed(request)));
        Assert.That((isDecode ? other : hanging).Requests[^1].PrefillAddress, Is.Empty);
        await still.DisposeAsync();
        await cluster.AssertEmptyAsync();
    }

    private static ConductorMember Join(
        SimulatedCluster cluster, string nodeId, NodeRoles roles, LoopbackServer server)
    {
        cluster.Conductor.Register(
            new NodeDescriptor(nodeId, 1, roles, server.Address.AbsoluteUri, SimulatedNode.ModelOf('a'), 4096, 32),
            out var member);
        return member!;
    }
}
