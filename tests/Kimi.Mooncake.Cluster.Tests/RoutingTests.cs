using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>The conductor of the same process and one elsewhere answer alike.</summary>
[TestFixture(false)]
[TestFixture(true)]
internal sealed class RoutingTests(bool isRemote)
{
    private static readonly ConductorOptions Strict = SimulatedCluster.Options with
    {
        QueueRequestsMax = 1,
        QueueTimeoutMs = 100,
        NoWorkerGraceMs = 50,
        RoutedRequestsMax = 1,
        RetryAfterMsMin = 1500,
    };

    private SimulatedCluster _cluster = null!;
    private IRouter _router = null!;

    [TearDown]
    public async Task StopAsync() => await _cluster.DisposeAsync();

    [Test]
    public async Task Route_WithAPair_CountsUntilItIsGivenBack()
    {
        await StartAsync(SimulatedCluster.Options);
        await _cluster.AddAsync("p", NodeRoles.Prefill);
        await _cluster.AddAsync("d", NodeRoles.Decode);

        var lease = await _router.RouteAsync(Query(), CancellationToken.None);

        Assert.That(lease.Pair.Decode.NodeId, Is.EqualTo("d"));
        Assert.That(lease.Pair.Prefill?.NodeId, Is.EqualTo("p"));
        Assert.That(lease.Pair.Degraded, Is.False);
        Assert.That(_cluster.Conductor.State().Routed, Is.EqualTo(1));
        await lease.DisposeAsync();
        await _cluster.AssertEmptyAsync();
    }

    [Test]
    public async Task Route_WithoutDecodeWorker_IsDegraded()
    {
        await StartAsync(SimulatedCluster.Options);
        await _cluster.AddAsync("p", NodeRoles.Prefill);

        await using var lease = await _router.RouteAsync(Query(), CancellationToken.None);

        Assert.That((lease.Pair.Decode.NodeId, lease.Pair.Degraded), Is.EqualTo(("p", true)));
        await Eventually.BecomesAsync(() => _router.State().DegradedReason.Length > 0, "the news");
    }

    [Test]
    public async Task Route_OfTooLongARequest_SaysBothNumbers()
    {
        await StartAsync(SimulatedCluster.Options);
        await _cluster.AddAsync("d", NodeRoles.Decode | NodeRoles.Prefill);

        var fault = await Assert.ThrowsAsync<PromptTooLongException>(
            () => _router.RouteAsync(Query() with { SequenceTokensMax = 1_000_000 }, CancellationToken.None));
        Assert.That(fault!.Tokens, Is.EqualTo(1_000_000));
        Assert.That(fault.TokensMax, Is.LessThan(1_000_000).And.Positive);
    }

    [Test]
    public async Task Route_WithoutWorker_IsRefusedAfterTheGrace()
    {
        await StartAsync(Strict);

        await Assert.ThatAsync(
            () => _router.RouteAsync(Query(), CancellationToken.None), Throws.InstanceOf<NoWorkerException>());
        await _cluster.AssertEmptyAsync();
    }

    [Test]
    public async Task Route_InAFullCluster_WaitsAndThenSaysWhenToRetry()
    {
        await StartAsync(Strict with { QueueTimeoutMs = 2000 });
        await _cluster.AddAsync("d", NodeRoles.Decode | NodeRoles.Prefill);
        await using var first = await _router.RouteAsync(Query(), CancellationToken.None);
        var second = _router.RouteAsync(Query(), CancellationToken.None);
        await Eventually.BecomesAsync(() => _cluster.Conductor.State().Waiting == 1, "the second in the queue");

        var third = await Assert.ThrowsAsync<ClusterBusyException>(
            () => _router.RouteAsync(Query(), CancellationToken.None));
        var late = await Assert.ThrowsAsync<ClusterBusyException>(() => second);

        Assert.That(third!.RetryAfter.TotalMilliseconds, Is.GreaterThanOrEqualTo(1500));
        Assert.That(late!.RetryAfter.TotalMilliseconds, Is.GreaterThanOrEqualTo(1500));
    }

    [Test]
    public async Task Route_GivenUpWhileItWaits_LeavesTheQueue()
    {
        await StartAsync(Strict with { QueueTimeoutMs = 60_000 });
        await _cluster.AddAsync("d", NodeRoles.Decode | NodeRoles.Prefill);
        var first = await _router.RouteAsync(Query(), CancellationToken.None);
        using var giveUp = new CancellationTokenSource();
        var second = _router.RouteAsync(Query(), giveUp.Token);
        await Eventually.BecomesAsync(() => _cluster.Conductor.State().Waiting == 1, "the second in the queue");

        await giveUp.CancelAsync();

        await Assert.ThatAsync(() => second, Throws.InstanceOf<OperationCanceledException>());
        await Eventually.BecomesAsync(() => _cluster.Conductor.State().Waiting == 0, "an empty queue");
        await first.DisposeAsync();
        await _cluster.AssertEmptyAsync();
    }

    [Test]
    public async Task Lease_WhoseNodesLeave_HearsOfEach()
    {
        await StartAsync(SimulatedCluster.Options);
        await _cluster.AddAsync("p", NodeRoles.Prefill);
        await _cluster.AddAsync("d", NodeRoles.Decode);
        await using var lease = await _router.RouteAsync(Query(), CancellationToken.None);

        await _cluster.KillAsync("p");
        await Eventually.BecomesAsync(() => lease.PrefillLost.IsCancellationRequested, "the loss of p");
        Assert.That(lease.DecodeLost.IsCancellationRequested, Is.False);
        await _cluster.KillAsync("d");
        await Eventually.BecomesAsync(() => lease.DecodeLost.IsCancellationRequested, "the loss of d");

        Assert.That(lease.LostReason, Does.Contain("d"));
    }

    [Test]
    public async Task State_OfACluster_ListsItsNodes()
    {
        await StartAsync(SimulatedCluster.Options);
        await _cluster.AddAsync("p", NodeRoles.Prefill);
        await _cluster.AddAsync("d", NodeRoles.Decode);

        await Eventually.BecomesAsync(() => _router.State().Nodes.Count == 2, "both nodes");

        var node = _router.State().Nodes.Single(n => n.Descriptor.NodeId == "d");
        Assert.That(node.Descriptor.Model, Is.EqualTo(SimulatedNode.ModelOf('a')));
        Assert.That(node.Health, Is.EqualTo(NodeHealth.Ready));
        Assert.That(_router.State().AwayReason, Is.Empty);
    }

    internal static RouteQuery Query() => new()
    {
        RequestId = "r",
        PromptTokens = 100,
        SequenceTokensMax = 120,
        BlockKeys = new[] { TestKeys.Of(1), TestKeys.Of(2) },
    };

    private async Task StartAsync(ConductorOptions options)
    {
        _cluster = await SimulatedCluster.StartAsync(options);
        _router = isRemote ? _cluster.Remote() : new LocalRouter(_cluster.Conductor);
    }
}
