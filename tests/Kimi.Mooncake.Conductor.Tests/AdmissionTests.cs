using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor.Tests;

[TestFixture]
internal sealed class AdmissionTests
{
    private const NodeRoles Both = NodeRoles.Prefill | NodeRoles.Decode;

    private static readonly BlockKey[] Document = TestCluster.Keys(1, 10);

    private static readonly NodeLoad FullLoad = TestCluster.Idle() with { Running = 8 };

    private TestCluster _cluster = null!;

    [SetUp]
    public void Start() => _cluster = new TestCluster(new ConductorOptions { QueueRequestsMax = 4 });

    [Test]
    public void Submit_QueueFull_IsRefusedWithTheNumbers()
    {
        _cluster.Join("n1", Both, FullLoad);
        var waiting = Enumerable.Range(0, 4).Select(_ => Submit()).ToArray();
        var refused = Submit();
        Assert.That(waiting.Select(ticket => ticket.State), Is.All.EqualTo(RouteState.Waiting));
        Assert.That(refused.State, Is.EqualTo(RouteState.Refused));
        Assert.That(
            (refused.Refusal!.Reason, refused.Refusal.Value, refused.Refusal.ValueMax),
            Is.EqualTo((RouteRefusalReason.QueueFull, 4, 4)));
        Assert.That(refused.Refusal.RetryAfter, Is.EqualTo(TimeSpan.FromSeconds(60)), "nothing has moved yet");
        Assert.That(_cluster.TakeEvents().Single().Ticket, Is.SameAs(refused));
    }

    [Test]
    public void Submit_QueueFullWhileItMoves_IsToldWhenItsTurnWillBe()
    {
        _cluster.Join("n1", Both, sequences: 1000);
        for (var request = 0; request < 300; request++)
        {
            _cluster.Advance(100);
            _cluster.Load("n1", TestCluster.Idle());
            _cluster.Release(Submit());
        }

        _cluster.Load("n1", TestCluster.Idle() with { Running = 1000 });
        var refused = Enumerable.Range(0, 5).Select(_ => Submit()).ToArray()[^1];
        Assert.That(refused.Refusal!.RetryAfter, Is.EqualTo(TimeSpan.FromSeconds(1)), "10 a second, clamped");
        for (var second = 0; second < 25; second++)
        {
            _cluster.Advance(1000);
            _cluster.Load("n1", TestCluster.Idle() with { Running = 1000 });
        }

        Assert.That(
            Submit().Refusal!.RetryAfter.TotalSeconds, Is.InRange(2, 4), "5 at a rate that fell to 2 a second");
    }

    [Test]
    public void Expire_WaitedAsLongAsMayBe_IsRefused()
    {
        _cluster.Join("n1", Both, FullLoad);
        var ticket = Submit();
        for (var second = 0; second < 30; second++)
        {
            Assert.That(ticket.State, Is.EqualTo(RouteState.Waiting));
            _cluster.Advance(1000);
            _cluster.Load("n1", FullLoad);
        }

        Assert.That(ticket.Refusal?.Reason, Is.EqualTo(RouteRefusalReason.QueueTimeout));
        Assert.That(_cluster.Core.Waiting, Is.Zero);
    }

    [Test]
    public void Submit_MoreThanAnyPool_IsRefusedForGood()
    {
        _cluster.Join("d1", NodeRoles.Decode, blocks: 20);
        _cluster.Join("d2", NodeRoles.Decode, blocks: 30);
        _cluster.Join("p1", NodeRoles.Prefill, blocks: 1000);
        var refusal = _cluster.Submit(TestCluster.Query(Document, newTokens: 320)).Refusal!;
        Assert.That(
            (refusal.Reason, refusal.RetryAfter, refusal.Value, refusal.ValueMax),
            Is.EqualTo((RouteRefusalReason.TooLong, TimeSpan.Zero, 484, 480)));
        Assert.That(_cluster.Route(TestCluster.Query(Document, newTokens: 300)).Decode.NodeId, Is.EqualTo("d2"));
    }

    [Test]
    public void Submit_NoNode_WaitsForOneToCome()
    {
        var ticket = Submit();
        _cluster.Advance(9_000);
        Assert.That(ticket.State, Is.EqualTo(RouteState.Waiting));
        _cluster.Join("n1", Both);
        Assert.That(ticket.State, Is.EqualTo(RouteState.Routed));
    }

    [Test]
    public void Expire_NoNodeComes_IsRefused()
    {
        var ticket = Submit();
        _cluster.Advance(10_000);
        Assert.That(ticket.Refusal?.Reason, Is.EqualTo(RouteRefusalReason.NoWorker));
        Assert.That(ticket.Refusal!.RetryAfter, Is.GreaterThan(TimeSpan.Zero));
    }

    [Test]
    public void Expire_AllNodesExcluded_IsRefusedAndHoldsNobodyUp()
    {
        _cluster.Join("n1", Both);
        var excluding = _cluster.Submit(TestCluster.Query(Document, excluded: ["n1"]));
        Assert.That(Submit().State, Is.EqualTo(RouteState.Routed));
        _cluster.Advance(9_000);
        _cluster.Load("n1", TestCluster.Idle());
        Assert.That(Submit().State, Is.EqualTo(RouteState.Routed));
        _cluster.Advance(1_000);
        Assert.That(excluding.Refusal?.Reason, Is.EqualTo(RouteRefusalReason.NoWorker));
    }

    [Test]
    public void Expire_WorkersFullThenGone_CountsTheGraceFromTheirLoss()
    {
        _cluster.Join("n1", Both, FullLoad);
        _cluster.Advance(3_000);
        _cluster.Load("n1", FullLoad);
        var ticket = Submit();
        _cluster.Advance(4_000);
        _cluster.Advance(9_999);
        Assert.That(ticket.State, Is.EqualTo(RouteState.Waiting));
        _cluster.Advance(1);
        Assert.That(ticket.Refusal?.Reason, Is.EqualTo(RouteRefusalReason.NoWorker));
    }

    [Test]
    public void Place_SeveralTenants_TakesThemInTurnByArrival()
    {
        var cluster = new TestCluster();
        cluster.Join("n1", Both, FullLoad);
        foreach (var tenant in new[] { "a", "a", "a", "b", "b", "c" })
        {
            cluster.Submit(TestCluster.Query(Document, tenant: tenant));
        }

        cluster.TakeEvents();
        cluster.Load("n1", TestCluster.Idle());
        var order = cluster.TakeEvents().Select(e => (e.Ticket!.Query.Tenant, e.Ticket.Id));
        Assert.That(order, Is.EqualTo(new[] { ("a", 1L), ("b", 4L), ("c", 6L), ("a", 2L), ("b", 5L), ("a", 3L) }));
    }

    [Test]
    public void Place_LargeOneFindsNoRoom_IsPassedForAWhileOnly()
    {
        var little = TestCluster.Idle() with { BlocksFree = 20, BlocksHeld = 980, Running = 1 };
        _cluster.Join("n1", Both, little, sequences: 100);
        var large = _cluster.Submit(TestCluster.Query(TestCluster.Keys(2, 50), tenant: "a"));
        Assert.That(_cluster.Submit(TestCluster.Query(Document, tenant: "b")).State, Is.EqualTo(RouteState.Routed));
        _cluster.Advance(2_000);
        _cluster.Load("n1", little);
        var small = _cluster.Submit(TestCluster.Query(Document, tenant: "b"));
        Assert.That((large.State, small.State), Is.EqualTo((RouteState.Waiting, RouteState.Waiting)));
        _cluster.Load("n1", TestCluster.Idle());
        Assert.That((large.State, small.State), Is.EqualTo((RouteState.Routed, RouteState.Routed)));
    }

    [Test]
    public void Release_WhileWaiting_FreesThePlace()
    {
        _cluster.Join("n1", Both, FullLoad);
        var tickets = Enumerable.Range(0, 4).Select(_ => Submit()).ToArray();
        _cluster.Release(tickets[1]);
        _cluster.Release(tickets[1]);
        Assert.That(Submit().State, Is.EqualTo(RouteState.Waiting));
        Assert.That(_cluster.Core.Counters.Abandoned, Is.EqualTo(1));
        _cluster.Core.CheckIntegrity();
    }

    [Test]
    public void Release_OfARoutedOne_MakesRoomForTheNext()
    {
        _cluster.Join("n1", Both, sequences: 1);
        var first = Submit();
        var second = Submit();
        Assert.That(second.State, Is.EqualTo(RouteState.Waiting));
        _cluster.Release(first);
        Assert.That(second.State, Is.EqualTo(RouteState.Routed));
    }

    [Test]
    public void Release_OfOneThatTheLoadShows_MakesRoomBeforeTheNextLoad()
    {
        _cluster.Join("n1", Both, sequences: 1);
        var first = Submit();
        _cluster.Advance(500);
        _cluster.Load("n1", TestCluster.Idle() with { Running = 1 });
        var second = Submit();
        Assert.That(second.State, Is.EqualTo(RouteState.Waiting));
        _cluster.Release(first);
        Assert.That(second.State, Is.EqualTo(RouteState.Routed));
        Assert.That(Submit().State, Is.EqualTo(RouteState.Waiting));
    }

    [Test]
    public void Submit_MoreThanRoutedRequestsMax_Waits()
    {
        var cluster = new TestCluster(new ConductorOptions { RoutedRequestsMax = 1 });
        cluster.Join("n1", Both);
        var first = cluster.Submit(TestCluster.Query(Document));
        var second = cluster.Submit(TestCluster.Query(Document));
        Assert.That(second.State, Is.EqualTo(RouteState.Waiting));
        cluster.Release(first);
        Assert.That(second.State, Is.EqualTo(RouteState.Routed));
    }

    [TestCase(0, 10)]
    [TestCase(10, 9)]
    public void Submit_FieldOutOfRange_Throws(int promptTokens, int tokensMax)
    {
        var query = new RouteQuery { RequestId = "r", PromptTokens = promptTokens, SequenceTokensMax = tokensMax };
        Assert.That(() => _cluster.Submit(query), Throws.ArgumentException.With.Message.Contains("tokens"));
    }

    private RouteTicket Submit() => _cluster.Submit(TestCluster.Query(Document));
}
