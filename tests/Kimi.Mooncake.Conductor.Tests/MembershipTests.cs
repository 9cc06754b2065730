using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor.Tests;

[TestFixture]
internal sealed class MembershipTests
{
    private static readonly BlockKey[] Document = TestCluster.Keys(1, 10);

    private TestCluster _cluster = null!;

    [SetUp]
    public void Start() => _cluster = new TestCluster();

    [Test]
    public void Register_OtherFingerprint_IsRefusedWithBothNames()
    {
        _cluster.Join("d1", NodeRoles.Decode);
        var other = TestCluster.CardOf(TestCluster.Model.KvLayout, "f2");
        var result = _cluster.Register(TestCluster.Describe("d2", NodeRoles.Decode, model: other));
        Assert.That(result.Refusal, Is.EqualTo(RegistrationRefusal.OtherModel));
        Assert.That(result.Message, Does.Contain("f1").And.Contain("f2").And.Contain("model.arithmetic"));
    }

    [Test]
    public void Register_OtherLayout_IsRefusedWithBothLayouts()
    {
        _cluster.Join("d1", NodeRoles.Decode);
        var other = TestCluster.CardOf(TestCluster.Model.KvLayout with { BlockTokens = 32 });
        var result = _cluster.Register(TestCluster.Describe("s1", NodeRoles.Store, model: other));
        Assert.That(result.Refusal, Is.EqualTo(RegistrationRefusal.OtherLayout));
        Assert.That(result.Message, Does.Contain("block=16").And.Contain("block=32").And.Contain("worker.kv_type"));
    }

    [Test]
    public void Register_OtherModelAfterTheLastLeft_IsAccepted()
    {
        _cluster.Join("d1", NodeRoles.Decode);
        _cluster.Core.Leave(_cluster.MemberOf("d1"), _cluster.Now);
        var other = TestCluster.CardOf(TestCluster.Model.KvLayout, "f2");
        Assert.That(_cluster.Register(TestCluster.Describe("d2", NodeRoles.Decode, model: other)).IsAccepted);
    }

    [Test]
    public void Register_OnlyNodeStartedAgainWithAnotherModel_IsAccepted()
    {
        _cluster.Join("d1", NodeRoles.Decode);
        var other = TestCluster.CardOf(TestCluster.Model.KvLayout, "f2");
        var again = TestCluster.Describe("d1", NodeRoles.Decode, epoch: 2, model: other);
        Assert.That(_cluster.Register(again).IsAccepted);
    }

    [TestCase("", NodeRoles.Decode, 1, 1, "node id")]
    [TestCase("n", NodeRoles.None, 1, 1, "role")]
    [TestCase("n", (NodeRoles)8, 1, 1, "roles")]
    [TestCase("n", NodeRoles.Decode, 0, 1, "blocks")]
    [TestCase("n", NodeRoles.Prefill, 1, 0, "sequences")]
    public void Register_FieldOutOfRange_IsRefusedNamingIt(
        string id, NodeRoles roles, int blocks, int sequences, string named)
    {
        var result = _cluster.Register(TestCluster.Describe(id, roles, blocks: blocks, sequences: sequences));
        Assert.That(result.Refusal, Is.EqualTo(RegistrationRefusal.Invalid));
        Assert.That(result.Message, Does.Contain(named));
    }

    [Test]
    public void Register_MoreThanNodesMax_IsRefused()
    {
        var cluster = new TestCluster(new ConductorOptions { NodesMax = 1 });
        cluster.Join("d1", NodeRoles.Decode);
        var result = cluster.Register(TestCluster.Describe("d2", NodeRoles.Decode));
        Assert.That(result.Refusal, Is.EqualTo(RegistrationRefusal.ClusterFull));
        Assert.That(cluster.Register(TestCluster.Describe("d1", NodeRoles.Decode, epoch: 5)).IsAccepted);
    }

    [Test]
    public void Register_EarlierEpoch_IsRefused()
    {
        Assert.That(_cluster.Register(TestCluster.Describe("d1", NodeRoles.Decode, epoch: 2)).IsAccepted);
        var result = _cluster.Register(TestCluster.Describe("d1", NodeRoles.Decode, epoch: 1));
        Assert.That(result.Refusal, Is.EqualTo(RegistrationRefusal.StaleEpoch));
    }

    [Test]
    public void Register_SameEpochAtAnotherAddress_IsRefused()
    {
        _cluster.Join("d1", NodeRoles.Decode);
        var result = _cluster.Register(
            TestCluster.Describe("d1", NodeRoles.Decode) with { Address = "http://elsewhere" });
        Assert.That(result.Refusal, Is.EqualTo(RegistrationRefusal.Duplicate));
    }

    [Test]
    public void Register_GreaterEpoch_LosesTheEarlierLife()
    {
        _cluster.Join("d1", NodeRoles.Decode | NodeRoles.Prefill);
        _cluster.Added("d1", Document);
        var ticket = _cluster.Submit(TestCluster.Query(Document));
        var old = _cluster.MemberOf("d1");
        _cluster.TakeEvents();
        Assert.That(_cluster.Register(TestCluster.Describe("d1", NodeRoles.Decode, epoch: 2)).IsAccepted);
        var events = _cluster.TakeEvents();
        Assert.That(events.Select(e => e.Kind), Is.EqualTo(
            new[] { ConductorEventKind.NodeLost, ConductorEventKind.MembershipEnded }));
        Assert.That((events[0].Ticket, events[1].Membership), Is.EqualTo((ticket, old)));
        Assert.That(_cluster.Core.Heartbeat(old, TestCluster.Idle(), _cluster.Now), Is.False);
        Assert.That(_cluster.StateOf("d1"), Has.Property("Routed").Zero.And.Property("IndexedBlocks").Zero);
        _cluster.Release(ticket);
        _cluster.Core.CheckIntegrity();
    }

    [Test]
    public void Register_SameProcessAgain_KeepsItsTickets()
    {
        _cluster.Join("d1", NodeRoles.Decode | NodeRoles.Prefill);
        var ticket = _cluster.Submit(TestCluster.Query(Document));
        var old = _cluster.MemberOf("d1");
        _cluster.Core.Disconnect(old, _cluster.Now);
        _cluster.TakeEvents();
        _cluster.Join("d1", NodeRoles.Decode | NodeRoles.Prefill);
        _cluster.Core.Disconnect(old, _cluster.Now);
        _cluster.Advance(3000);
        _cluster.Load("d1", TestCluster.Idle());
        _cluster.Advance(3000);
        Assert.That(_cluster.TakeEvents(), Is.Empty);
        var state = _cluster.StateOf("d1");
        Assert.That((state.Routed, state.Health), Is.EqualTo((1, NodeHealth.Ready)));
        _cluster.Release(ticket);
        _cluster.Core.CheckIntegrity();
    }

    [Test]
    public void Disconnect_NotBack_TakesNoWorkAtOnceAndLosesItsTicketsLater()
    {
        _cluster.Join("d1", NodeRoles.Decode | NodeRoles.Prefill);
        var ticket = _cluster.Submit(TestCluster.Query(Document));
        _cluster.TakeEvents();
        _cluster.Core.Disconnect(_cluster.MemberOf("d1"), _cluster.Now);
        Assert.That(_cluster.Submit(TestCluster.Query(Document)).State, Is.EqualTo(RouteState.Waiting));
        Assert.That(_cluster.TakeEvents(), Is.Empty);
        _cluster.Advance(4000);
        var lost = _cluster.TakeEvents().Single();
        Assert.That((lost.Kind, lost.Ticket, lost.NodeId), Is.EqualTo((ConductorEventKind.NodeLost, ticket, "d1")));
    }

    [Test]
    public void Expire_SilentNode_IsLostOnceThenForgotten()
    {
        _cluster.Join("d1", NodeRoles.Decode | NodeRoles.Prefill);
        _cluster.Submit(TestCluster.Query(Document));
        var member = _cluster.MemberOf("d1");
        _cluster.TakeEvents();
        _cluster.Advance(3999);
        Assert.That(_cluster.TakeEvents(), Is.Empty);
        _cluster.Advance(1);
        Assert.That(_cluster.TakeEvents().Single().Kind, Is.EqualTo(ConductorEventKind.NodeLost));
        Assert.That(_cluster.StateOf("d1").Health, Is.EqualTo(NodeHealth.Suspect));
        _cluster.Advance(26_000);
        Assert.That(_cluster.TakeEvents().Single().Kind, Is.EqualTo(ConductorEventKind.MembershipEnded));
        Assert.That(_cluster.Core.Nodes(_cluster.Now), Is.Empty);
        Assert.That(_cluster.Core.Heartbeat(member, TestCluster.Idle(), _cluster.Now), Is.False);
        _cluster.Core.CheckIntegrity();
    }

    [Test]
    public void Heartbeat_AfterSilence_MakesTheNodeReadyAgain()
    {
        _cluster.Join("d1", NodeRoles.Decode | NodeRoles.Prefill);
        _cluster.Advance(10_000);
        var ticket = _cluster.Submit(TestCluster.Query(Document));
        Assert.That(ticket.State, Is.EqualTo(RouteState.Waiting));
        _cluster.Load("d1", TestCluster.Idle());
        Assert.That(ticket.State, Is.EqualTo(RouteState.Routed));
    }

    [Test]
    public void Expire_AfterTheConductorStoodStill_BlamesNoNode()
    {
        _cluster.Join("d1", NodeRoles.Decode | NodeRoles.Prefill);
        _cluster.Advance(2000);
        _cluster.Submit(TestCluster.Query(Document));
        _cluster.TakeEvents();
        _cluster.Pause(60_000);
        _cluster.Advance(1000);
        Assert.That(_cluster.TakeEvents(), Is.Empty);
        Assert.That(_cluster.StateOf("d1").Health, Is.EqualTo(NodeHealth.Ready));
        _cluster.Advance(2000);
        Assert.That(_cluster.TakeEvents().Single().Kind, Is.EqualTo(ConductorEventKind.NodeLost));
    }

    [Test]
    public void Register_AgainWhileDraining_StillDrains()
    {
        _cluster.Join("d1", NodeRoles.Decode);
        _cluster.Core.Disconnect(_cluster.MemberOf("d1"), _cluster.Now);
        _cluster.Core.Drain("d1", _cluster.Now);
        Assert.That(_cluster.Register(TestCluster.Describe("d1", NodeRoles.Decode)).IsAccepted);
        Assert.That(_cluster.StateOf("d1").IsDraining, Is.True, "it has not heard of it");
    }

    [Test]
    public void Leave_WithTickets_LosesThemAtOnce()
    {
        _cluster.Join("d1", NodeRoles.Decode | NodeRoles.Prefill);
        _cluster.Submit(TestCluster.Query(Document));
        _cluster.TakeEvents();
        _cluster.Core.Leave(_cluster.MemberOf("d1"), _cluster.Now);
        Assert.That(_cluster.TakeEvents().Single().Kind, Is.EqualTo(ConductorEventKind.NodeLost));
        Assert.That(_cluster.Core.Nodes(_cluster.Now), Is.Empty);
    }

    [Test]
    public void Drain_WithATicket_IsDoneWhenTheTicketAndTheLoadAreGone()
    {
        _cluster.Join("d1", NodeRoles.Decode | NodeRoles.Prefill);
        _cluster.Join("d2", NodeRoles.Decode | NodeRoles.Prefill);
        var ticket = _cluster.Submit(TestCluster.Query(Document));
        var id = ticket.Pair!.Decode.NodeId;
        Assert.That(_cluster.Core.Drain(id, _cluster.Now));
        Assert.That(_cluster.Core.DrainOf(id), Is.EqualTo(new DrainProgress(1, false)));
        for (var request = 0; request < 5; request++)
        {
            Assert.That(_cluster.Route(TestCluster.Query(Document)).Decode.NodeId, Is.Not.EqualTo(id));
        }

        _cluster.Release(ticket);
        Assert.That(_cluster.Core.DrainOf(id)!.Value.IsDrained, Is.False, "no load came since");
        _cluster.Load(id, TestCluster.Idle() with { Running = 1, BlocksHeld = 3 });
        Assert.That(_cluster.Core.DrainOf(id), Is.EqualTo(new DrainProgress(1, false)));
        _cluster.Load(id, TestCluster.Idle());
        Assert.That(_cluster.Core.DrainOf(id), Is.EqualTo(new DrainProgress(0, true)));
        _cluster.Core.Leave(_cluster.MemberOf(id), _cluster.Now);
        Assert.That(_cluster.Core.DrainOf(id), Is.Null);
    }

    [Test]
    public void Drain_PrefillWorkerWhoseTicketStillDecodesElsewhere_IsDone()
    {
        _cluster.Join("d1", NodeRoles.Decode);
        _cluster.Join("p1", NodeRoles.Prefill);
        var pair = _cluster.Route(TestCluster.Query(TestCluster.Keys(2, 50)));
        Assert.That(pair.Prefill?.NodeId, Is.EqualTo("p1"));
        _cluster.Core.Drain("p1", _cluster.Now);
        _cluster.Load("p1", TestCluster.Idle());
        Assert.That(_cluster.Core.DrainOf("p1"), Is.EqualTo(new DrainProgress(1, false)), "it may be on its way");
        _cluster.Advance(300);
        _cluster.Load("p1", TestCluster.Idle());
        Assert.That(_cluster.Core.DrainOf("p1"), Is.EqualTo(new DrainProgress(0, true)));
    }

    [Test]
    public void Drain_UnknownNode_IsToldSo() => Assert.That(_cluster.Core.Drain("x", _cluster.Now), Is.False);

    [Test]
    public void StoreNodes_ComeAndGo_AreToldOnChange()
    {
        _cluster.Join("s2", NodeRoles.Store);
        _cluster.Join("s1", NodeRoles.Store | NodeRoles.Decode);
        Assert.That(_cluster.Core.StoreNodes.Select(node => node.NodeId), Is.EqualTo(new[] { "s1", "s2" }));
        Assert.That(
            _cluster.TakeEvents().Count(e => e.Kind == ConductorEventKind.StoreNodesChanged), Is.EqualTo(2));
        _cluster.Load("s1", TestCluster.Idle());
        Assert.That(_cluster.TakeEvents(), Is.Empty);
        _cluster.Advance(4000);
        Assert.That(_cluster.Core.StoreNodes, Is.Empty);
        Assert.That(_cluster.TakeEvents().Single().Kind, Is.EqualTo(ConductorEventKind.StoreNodesChanged));
    }

    [Test]
    public void Constructor_SilenceShorterThanTheInterval_Throws() => Assert.That(
        () => new ConductorCore(new ConductorOptions { LoadIntervalMs = 5000 }),
        Throws.ArgumentException.With.Message.Contains("SuspectAfterMs"));
}
