using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor.Tests;

[TestFixture]
internal sealed class KvEventTests
{
    private static readonly BlockKey[] Document = TestCluster.Keys(1, 10);

    private TestCluster _cluster = null!;

    [SetUp]
    public void Start()
    {
        _cluster = new TestCluster();
        Assert.That(_cluster.Register(TestCluster.Describe("d1", NodeRoles.Decode)).IsAccepted);
        _cluster.Load("d1", TestCluster.Idle());
    }

    [Test]
    public void Apply_ChangesBeforeTheSnapshot_AsksForOneOnce()
    {
        Assert.That(_cluster.Added("d1", Document), Is.EqualTo(KvEventResult.ResyncWanted));
        Assert.That(_cluster.Added("d1", Document), Is.EqualTo(KvEventResult.AwaitsSnapshot));
        Assert.That(_cluster.Snapshot("d1", Document[..3], last: 20), Is.EqualTo(KvEventResult.Applied));
        Assert.That(_cluster.Added("d1", Document[3..5]), Is.EqualTo(KvEventResult.Applied));
        Assert.That(_cluster.StateOf("d1").IndexedBlocks, Is.EqualTo(5));
        Assert.That(_cluster.Core.Counters.KvResyncs, Is.EqualTo(1));
    }

    [Test]
    public void Apply_Gap_AsksForASnapshotThatReplacesWhatWasKnown()
    {
        _cluster.Snapshot("d1", []);
        _cluster.Added("d1", Document);
        _cluster.LoseEvents("d1", 1);
        Assert.That(_cluster.Removed("d1", Document[9]), Is.EqualTo(KvEventResult.ResyncWanted));
        Assert.That(_cluster.Snapshot("d1", Document[..4], last: 12), Is.EqualTo(KvEventResult.Applied));
        Assert.That(_cluster.StateOf("d1").IndexedBlocks, Is.EqualTo(4));
    }

    [Test]
    public void Apply_SnapshotInParts_IsWholeAfterTheLast()
    {
        var member = _cluster.MemberOf("d1");
        Assert.That(Part(member, 0, Document[..4], begins: true), Is.EqualTo(KvEventResult.Applied));
        Assert.That(Part(member, 0, Document[4..8]), Is.EqualTo(KvEventResult.Applied));
        Assert.That(Part(member, 30, Document[8..], ends: true), Is.EqualTo(KvEventResult.Applied));
        var next = new KvEventBatch { Sequence = 31, Keys = Document.AsSpan(9), Removed = [true] };
        Assert.That(_cluster.Core.Apply(member, next, _cluster.Now), Is.EqualTo(KvEventResult.Applied));
        Assert.That(_cluster.StateOf("d1").IndexedBlocks, Is.EqualTo(9));
    }

    [Test]
    public void Apply_OfAnEarlierMembership_IsRefused()
    {
        var old = _cluster.MemberOf("d1");
        _cluster.Register(TestCluster.Describe("d1", NodeRoles.Decode));
        Assert.That(Part(old, 0, Document, begins: true), Is.EqualTo(KvEventResult.NotMember));
    }

    [Test]
    public void Apply_KeysWithoutMarks_Throws()
    {
        _cluster.Snapshot("d1", []);
        Assert.That(
            () => _cluster.Changed("d1", Document, [true]), Throws.ArgumentException.With.Message.Contains("10 keys"));
    }

    private KvEventResult Part(
        MembershipId member, ulong sequence, BlockKey[] keys, bool begins = false, bool ends = false) =>
        _cluster.Core.Apply(
            member,
            new KvEventBatch { Sequence = sequence, SnapshotBegin = begins, SnapshotEnd = ends, Keys = keys },
            _cluster.Now);
}
