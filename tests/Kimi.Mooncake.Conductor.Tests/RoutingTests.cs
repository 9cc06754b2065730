using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor.Tests;

/// <summary>Which workers are chosen. A prompt token costs 1 ms on each node, unless a test says otherwise.</summary>
[TestFixture]
internal sealed class RoutingTests
{
    private static readonly BlockKey[] Document = TestCluster.Keys(1, 50);

    private TestCluster _cluster = null!;

    [SetUp]
    public void Start() => _cluster = new TestCluster();

    [Test]
    public void Submit_LongPrompt_IsPrefilledByAPrefillWorker()
    {
        Join2P2D();
        var pair = _cluster.Route(TestCluster.Query(Document));
        Assert.That((pair.Prefill?.NodeId, pair.Decode.NodeId), Is.EqualTo(("p1", "d1")));
        Assert.That((pair.Source, pair.SourceBlocks, pair.Degraded), Is.EqualTo(((NodeAddress?)null, 0, false)));
        Assert.That(pair.TtftSeconds, Is.EqualTo(0.001 + 0.804 + 0.005).Within(1e-6), "fixed + tokens + hand-over");
    }

    [Test]
    public void Submit_PrefixOnOnePrefillWorker_GoesThere()
    {
        Join2P2D();
        _cluster.Added("p2", Document);
        Assert.That(_cluster.Route(TestCluster.Query(Document, extraTokens: 400)).Prefill?.NodeId, Is.EqualTo("p2"));
    }

    [Test]
    public void Submit_PrefixBehindALongQueue_IsPulledByTheIdleOne()
    {
        Join2P2D();
        _cluster.Added("p2", Document);
        _cluster.Load("p2", TestCluster.Idle() with { QueuedPrefillTokens = 5000 });
        var pair = _cluster.Route(TestCluster.Query(Document, extraTokens: 400));
        Assert.That(
            (pair.Prefill?.NodeId, pair.Source?.NodeId, pair.SourceBlocks), Is.EqualTo(("p1", "p2", Document.Length)));
    }

    [Test]
    public void Submit_SlowTransfer_ComputesInsteadOfPulling()
    {
        Join2P2D();
        _cluster.Added("d2", Document);
        foreach (var node in new[] { "p1", "p2", "d1" })
        {
            _cluster.Load(node, TestCluster.Idle() with { TransferBytesPerSecond = 1000 });
        }

        var pair = _cluster.Route(TestCluster.Query(Document, extraTokens: 400, excluded: ["d2"]));
        Assert.That((pair.Decode.NodeId, pair.Source), Is.EqualTo(("d1", (NodeAddress?)null)));
    }

    [Test]
    public void Submit_PrefixInAStoreNode_IsPulledFromThere()
    {
        Join2P2D();
        _cluster.Join("s1", NodeRoles.Store);
        _cluster.Added("s1", Document);
        var pair = _cluster.Route(TestCluster.Query(Document, extraTokens: 400));
        Assert.That((pair.Source?.NodeId, pair.SourceBlocks), Is.EqualTo(("s1", Document.Length)));
    }

    [Test]
    public void Submit_ShortRemainderOnADecodeWorker_IsPrefilledThere()
    {
        Join2P2D();
        _cluster.Added("d2", Document);
        var pair = _cluster.Route(TestCluster.Query(Document, extraTokens: 20));
        Assert.That((pair.Decode.NodeId, pair.Prefill), Is.EqualTo(("d2", (NodeAddress?)null)));
        Assert.That(pair.Degraded, Is.False);
    }

    [Test]
    public void Submit_ShortRemainderOnABusyDecodeWorker_SparesItsRunningRequests()
    {
        Join2P2D();
        _cluster.Added("d2", Document);
        _cluster.Added("p1", Document);
        _cluster.Load("d2", TestCluster.Idle() with { Running = 6 });
        _cluster.Load("d1", TestCluster.Idle() with { Running = 6 });
        Assert.That(_cluster.Route(TestCluster.Query(Document, extraTokens: 20)).Prefill?.NodeId, Is.EqualTo("p1"));
    }

    [Test]
    public void Submit_RemainderAboveTheLocalLimit_GoesToAPrefillWorker()
    {
        Join2P2D();
        _cluster.Added("d2", Document);
        _cluster.Load("p1", TestCluster.Idle() with { QueuedPrefillTokens = 2000 });
        _cluster.Load("p2", TestCluster.Idle() with { QueuedPrefillTokens = 2000 });
        var pair = _cluster.Route(TestCluster.Query(Document, extraTokens: 300));
        Assert.That(pair.Prefill?.NodeId, Is.EqualTo("p1"));
    }

    [Test]
    public void Submit_EqualNodes_AreUsedInTurn()
    {
        Join2P2D();
        var pairs = Enumerable.Range(0, 4)
            .Select(n => _cluster.Route(TestCluster.Query(TestCluster.Keys(10 + n, 30)))).ToArray();
        Assert.That(pairs.Select(pair => pair.Prefill?.NodeId), Is.EqualTo(new[] { "p1", "p2", "p1", "p2" }));
        Assert.That(pairs.Select(pair => pair.Decode.NodeId), Is.EqualTo(new[] { "d1", "d2", "d1", "d2" }));
    }

    [Test]
    public void Submit_LoadedDecodeWorker_IsAvoided()
    {
        Join2P2D();
        _cluster.Load("d1", TestCluster.Idle(500) with { Running = 2, BlocksHeld = 500 });
        Assert.That(_cluster.Route(TestCluster.Query(Document)).Decode.NodeId, Is.EqualTo("d2"));
    }

    [Test]
    public void Submit_SlowlySteppingDecodeWorker_IsAvoided()
    {
        Join2P2D();
        _cluster.Load("d1", TestCluster.Idle() with { Running = 1, DecodeStepSeconds = 0.15 });
        _cluster.Load("d2", TestCluster.Idle() with { Running = 2, DecodeStepSeconds = 0.01 });
        Assert.That(_cluster.Route(TestCluster.Query(Document)).Decode.NodeId, Is.EqualTo("d2"));
    }

    [Test]
    public void Submit_MeasuredCosts_DecideBetweenPrefillWorkers()
    {
        Join2P2D();
        _cluster.Load("p1", TestCluster.Idle() with { PrefillCost = new PrefillCost(0, 0.002, 0, 9) });
        Assert.That(_cluster.Route(TestCluster.Query(Document)).Prefill?.NodeId, Is.EqualTo("p2"));
    }

    [Test]
    public void Submit_TransferHiddenByPrefill_CostsNothing()
    {
        Join2P2D();
        var bytes = 804 * TestCluster.Model.KvLayout.BytesPerToken;
        _cluster.Load("d1", TestCluster.Idle() with { TransferBytesPerSecond = bytes / 0.8 });
        _cluster.Load("d2", TestCluster.Idle() with { TransferBytesPerSecond = bytes / 5.0 });
        var pair = _cluster.Route(TestCluster.Query(Document));
        Assert.That((pair.Decode.NodeId, pair.TtftSeconds), Is.EqualTo(("d1", 0.81)).Within(1e-6));
        Assert.That(
            _cluster.Route(TestCluster.Query(Document, excluded: ["d1"])).TtftSeconds, Is.GreaterThan(4.9));
    }

    [Test]
    public void Submit_NoDecodeWorker_OnePrefillWorkerDoesBoth()
    {
        _cluster.Join("p1", NodeRoles.Prefill);
        _cluster.Join("p2", NodeRoles.Prefill);
        var pair = _cluster.Route(TestCluster.Query(Document));
        Assert.That((pair.Decode.NodeId, pair.Prefill, pair.Degraded), Is.EqualTo(("p1", (NodeAddress?)null, true)));
        Assert.That(_cluster.Core.DegradedReason(_cluster.Now), Does.Contain("decode"));
    }

    [Test]
    public void Submit_NoPrefillWorker_DecodeWorkersPrefill()
    {
        _cluster.Join("d1", NodeRoles.Decode);
        var pair = _cluster.Route(TestCluster.Query(Document));
        Assert.That((pair.Decode.NodeId, pair.Prefill, pair.Degraded), Is.EqualTo(("d1", (NodeAddress?)null, true)));
        Assert.That(_cluster.Core.DegradedReason(_cluster.Now), Does.Contain("prefill"));
    }

    [Test]
    public void Submit_NodeWithBothRoles_IsNotDegraded()
    {
        _cluster.Join("n1", NodeRoles.Prefill | NodeRoles.Decode);
        var pair = _cluster.Route(TestCluster.Query(Document));
        Assert.That((pair.Decode.NodeId, pair.Prefill, pair.Degraded), Is.EqualTo(("n1", (NodeAddress?)null, false)));
        Assert.That(_cluster.Core.DegradedReason(_cluster.Now), Is.Null);
    }

    [Test]
    public void Submit_ExcludedNodes_TakeNoPart()
    {
        Join2P2D();
        _cluster.Added("p1", Document);
        _cluster.Added("d1", Document);
        var pair = _cluster.Route(TestCluster.Query(Document, extraTokens: 400, excluded: ["p1", "d1"]));
        Assert.That(
            (pair.Prefill?.NodeId, pair.Decode.NodeId, pair.Source), Is.EqualTo(("p2", "d2", (NodeAddress?)null)));
    }

    [Test]
    public void Submit_PoolTooSmallForThePrompt_PrefillsElsewhere()
    {
        _cluster.Join("p1", NodeRoles.Prefill, blocks: 20);
        _cluster.Join("p2", NodeRoles.Prefill, TestCluster.Idle() with { QueuedPrefillTokens = 100 });
        _cluster.Join("d1", NodeRoles.Decode);
        Assert.That(_cluster.Route(TestCluster.Query(Document)).Prefill?.NodeId, Is.EqualTo("p2"));
    }

    [Test]
    public void Submit_Full_WaitsUntilALoadShowsRoom()
    {
        _cluster.Join("n1", NodeRoles.Prefill | NodeRoles.Decode, sequences: 2);
        _cluster.Route(TestCluster.Query(Document));
        _cluster.Route(TestCluster.Query(Document));
        var third = _cluster.Submit(TestCluster.Query(Document));
        Assert.That(third.State, Is.EqualTo(RouteState.Waiting));
        _cluster.Load("n1", TestCluster.Idle());
        Assert.That(third.State, Is.EqualTo(RouteState.Waiting), "the load came too soon to show the two");
        _cluster.Advance(500);
        _cluster.Load("n1", TestCluster.Idle() with { Running = 2 });
        Assert.That(third.State, Is.EqualTo(RouteState.Waiting));
        _cluster.Load("n1", TestCluster.Idle() with { Running = 1 });
        Assert.That(third.State, Is.EqualTo(RouteState.Routed));
    }

    [Test]
    public void Submit_BlocksShort_CountsWhatIsSharedOnce()
    {
        _cluster.Join("n1", NodeRoles.Prefill | NodeRoles.Decode, blocks: 60);
        _cluster.Added("n1", Document);
        _cluster.Load("n1", TestCluster.Idle(10) with { BlocksHeld = 50, Running = 1 });
        var other = _cluster.Submit(TestCluster.Query(TestCluster.Keys(2, 30), tenant: "a"));
        Assert.That(other.State, Is.EqualTo(RouteState.Waiting));
        Assert.That(_cluster.Submit(TestCluster.Query(Document)).State, Is.EqualTo(RouteState.Routed));
    }

    private void Join2P2D()
    {
        _cluster.Join("p1", NodeRoles.Prefill);
        _cluster.Join("p2", NodeRoles.Prefill);
        _cluster.Join("d1", NodeRoles.Decode);
        _cluster.Join("d2", NodeRoles.Decode);
    }
}
