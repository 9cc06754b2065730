using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor.Tests;

[TestFixture]
internal sealed class SingleFlightTests
{
    private static readonly BlockKey[] Document = TestCluster.Keys(1, 100);

    private TestCluster _cluster = null!;

    [SetUp]
    public void Start()
    {
        _cluster = new TestCluster();
        for (var node = 1; node <= 4; node++)
        {
            _cluster.Join($"p{node}", NodeRoles.Prefill);
            _cluster.Join($"d{node}", NodeRoles.Decode, sequences: 64, blocks: 100_000);
        }
    }

    [Test]
    public void Submit_FiftyForOneUncachedDocument_ArePrefilledByOneWorker()
    {
        var tickets = Enumerable.Range(0, 50).Select(_ => _cluster.Submit(TestCluster.Query(Document, 40))).ToArray();
        Assert.That(tickets.Select(ticket => ticket.Pair?.Prefill?.NodeId), Is.All.EqualTo("p1"));
        Assert.That(_cluster.Core.Counters.RoutedJoined, Is.EqualTo(49));
        Assert.That(tickets.Select(ticket => ticket.Pair!.Decode.NodeId).Distinct().Count(), Is.GreaterThan(1));
        foreach (var ticket in tickets)
        {
            _cluster.Release(ticket);
        }

        _cluster.Core.CheckIntegrity();
    }

    [Test]
    public void Submit_OtherDocuments_SpreadOverTheWorkers()
    {
        var workers = Enumerable.Range(0, 4)
            .Select(n => _cluster.Route(TestCluster.Query(TestCluster.Keys(n + 5, 100))).Prefill?.NodeId);
        Assert.That(workers, Is.EquivalentTo(new[] { "p1", "p2", "p3", "p4" }));
    }

    [Test]
    public void Submit_SmallCommonBeginning_DoesNotBind()
    {
        _cluster.Route(TestCluster.Query([.. TestCluster.Keys(1, 4), .. TestCluster.Keys(2, 200)]));
        var pair = _cluster.Route(TestCluster.Query([.. TestCluster.Keys(1, 4), .. TestCluster.Keys(3, 200)]));
        Assert.That(pair.Prefill?.NodeId, Is.Not.EqualTo("p1"));
    }

    [Test]
    public void Release_OfTheFirst_LeavesTheOthersTogether()
    {
        var first = _cluster.Submit(TestCluster.Query(Document));
        _cluster.Submit(TestCluster.Query(Document));
        _cluster.Release(first);
        _cluster.Load("p1", TestCluster.Idle() with { QueuedPrefillTokens = 5000 });
        Assert.That(_cluster.Route(TestCluster.Query(Document)).Prefill?.NodeId, Is.EqualTo("p1"));
    }

    [Test]
    public void Release_OfTheLast_EndsTheFlight()
    {
        var tickets = new[]
        {
            _cluster.Submit(TestCluster.Query(Document)), _cluster.Submit(TestCluster.Query(Document)),
        };
        Array.ForEach(tickets, _cluster.Release);
        _cluster.Load("p1", TestCluster.Idle() with { QueuedPrefillTokens = 5000 });
        Assert.That(_cluster.Route(TestCluster.Query(Document)).Prefill?.NodeId, Is.EqualTo("p2"));
    }

    [Test]
    public void Apply_KeysOfTheFlight_EndItAndMakeTheWorkerTheSource()
    {
        _cluster.Submit(TestCluster.Query(Document));
        _cluster.Added("p1", Document);
        _cluster.Load("p1", TestCluster.Idle() with { QueuedPrefillTokens = 5000 });
        var pair = _cluster.Route(TestCluster.Query(Document, extraTokens: 400));
        Assert.That((pair.Prefill?.NodeId, pair.Source?.NodeId), Is.EqualTo(("p2", "p1")));
    }

    [Test]
    public void Release_AfterTheBlocksWereEvictedAndComputedAgain_LeavesTheNewFlight()
    {
        var first = _cluster.Submit(TestCluster.Query(Document));
        _cluster.Added("p1", Document);
        _cluster.Removed("p1", Document);
        _cluster.Load("p1", TestCluster.Idle() with { QueuedPrefillTokens = 5000 });
        Assert.That(_cluster.Route(TestCluster.Query(Document)).Prefill?.NodeId, Is.EqualTo("p2"));
        _cluster.Release(first);
        _cluster.Load("p2", TestCluster.Idle() with { QueuedPrefillTokens = 5000 });
        Assert.That(_cluster.Route(TestCluster.Query(Document)).Prefill?.NodeId, Is.EqualTo("p2"));
    }

    [Test]
    public void Submit_WorkerOfTheFlightIsLost_BeginsAnotherOneElsewhere()
    {
        _cluster.Submit(TestCluster.Query(Document));
        _cluster.Core.Leave(_cluster.MemberOf("p1"), _cluster.Now);
        _cluster.Join("p0", NodeRoles.Prefill);
        _cluster.Load("p0", TestCluster.Idle() with { QueuedPrefillTokens = 5000 });
        Assert.That(_cluster.Route(TestCluster.Query(Document)).Prefill?.NodeId, Is.EqualTo("p2"), "p0 has p1's slot");
        Assert.That(_cluster.Route(TestCluster.Query(Document)).Prefill?.NodeId, Is.EqualTo("p2"));
    }

    [Test]
    public void Submit_WorkerOfTheFlightExcluded_GoesElsewhereAndLeavesTheFlight()
    {
        _cluster.Submit(TestCluster.Query(Document));
        var other = _cluster.Route(TestCluster.Query(Document, excluded: ["p1"])).Prefill?.NodeId;
        Assert.That(other, Is.EqualTo("p2"));
        Assert.That(_cluster.Route(TestCluster.Query(Document)).Prefill?.NodeId, Is.EqualTo("p1"));
    }

    [Test]
    public void Submit_RandomRequests_NeverPrefillADocumentTwiceAtOnce() =>
        ScriptProperty.Holds(scripts: 200, bytesMax: 300, DocumentsArePrefilledOnce);

    // A document stays with one worker from its first request to the moment when no routed request has it any more.
    private static void DocumentsArePrefilledOnce(byte[] script)
    {
        var cluster = new TestCluster();
        for (var node = 0; node < 3; node++)
        {
            cluster.Join($"p{node}", NodeRoles.Prefill);
            cluster.Join($"d{node}", NodeRoles.Decode, sequences: 1000, blocks: 1_000_000);
        }

        var live = new List<(int Document, RouteTicket Ticket)>();
        foreach (var step in script)
        {
            var document = step % 5;
            if (step % 3 == 0 && live.Count > 0)
            {
                var place = step % live.Count;
                cluster.Release(live[place].Ticket);
                live.RemoveAt(place);
            }
            else if (step % 11 == 1)
            {
                cluster.Load($"p{step % 3}", TestCluster.Idle() with { QueuedPrefillTokens = step * 100 });
            }
            else
            {
                var query = TestCluster.Query(TestCluster.Keys(document, 64), extraTokens: step);
                live.Add((document, cluster.Submit(query)));
            }

            foreach (var sharing in live.GroupBy(pair => pair.Document))
            {
                Assert.That(
                    sharing.Select(pair => pair.Ticket.Pair!.Prefill!.NodeId).Distinct().Count(), Is.EqualTo(1));
            }
        }

        live.ForEach(pair => cluster.Release(pair.Ticket));
        cluster.Core.CheckIntegrity();
    }
}
