using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor.Tests;

/// <summary>
/// Plays a script of bytes against a conductor, beside a model that knows only what each node said last; after each
/// step everything that was decided is held against the model.
/// </summary>
internal sealed class RandomRun(byte[] script)
{
    private const int NodeCount = 6;
    private const int SequencesMax = 4;
    private const int Documents = 4;
    private const int DocumentBlocks = 12;
    private const int QueueMax = 5;
    private const int LoadDelayMs = 300;

    private static readonly NodeRoles[] RolesOf =
    [
        NodeRoles.Prefill, NodeRoles.Decode, NodeRoles.Prefill | NodeRoles.Decode, NodeRoles.Decode,
        NodeRoles.Prefill, NodeRoles.Store,
    ];

    private readonly ModelNode[] _nodes = [.. Enumerable.Range(0, NodeCount).Select(n => new ModelNode($"n{n}"))];
    private readonly List<RouteTicket> _tickets = [];
    private readonly List<RouteTicket> _routed = [];
    private readonly HashSet<(long Ticket, string Node, ulong Epoch)> _lost = [];
    private readonly ConductorCore _core = new(new ConductorOptions
    {
        QueueRequestsMax = QueueMax,
        QueueTimeoutMs = 6_000,
        NoWorkerGraceMs = 3_000,
        NodesMax = NodeCount - 1,
        SingleFlightTokensMin = 64,
        LoadDelayMs = LoadDelayMs,
    });

    private TimeSpan _now;
    private int _place;

    public List<string> Log { get; } = [];

    public ConductorCounters Counters => _core.Counters;

    public void Play()
    {
        while (_place < script.Length)
        {
            Step(_nodes[Next(NodeCount)]);
            TakeEvents();
            Check();
        }

        foreach (var ticket in _tickets)
        {
            Release(ticket);
            TakeEvents();
        }

        Check();
        Assert.That((_core.Waiting, _core.Routed), Is.EqualTo((0, 0)));
        Assert.That(_core.Nodes(_now).Sum(node => node.Routed), Is.Zero);
    }

    private int Next(int end) => _place < script.Length ? script[_place++] % end : 0;

    private void Step(ModelNode node)
    {
        switch (Next(16))
        {
            case 0:
                Register(node);
                break;
            case 1 or 2 or 3 or 4:
                Heartbeat(node, Next(8));
                break;
            case 5 or 6:
                ChangeKeys(node, Next(8));
                break;
            case 7:
                Snapshot(node);
                break;
            case 8 when Next(4) == 0:
                node.IsDraining |= _core.Drain(node.Id, _now);
                break;
            case 9 when Next(4) == 0:
                Disconnect(node, leaves: Next(2) == 0);
                break;
            case 10:
                for (var (steps, milliseconds) = (Next(50), 1 + Next(120)); steps > 0; steps--)
                {
                    _now += TimeSpan.FromMilliseconds(milliseconds);
                    _core.Expire(_now);
                    TakeEvents();
                }

                break;
            case 11 or 12 when _tickets.FindAll(IsLive) is { Count: > 0 } live:
                Release(live[Next(live.Count)]);
                break;
            default:
                Submit();
                break;
        }
    }

    private void Register(ModelNode node)
    {
        var isNewLife = Next(2) == 0;
        var model = Next(16) == 0 ? TestCluster.CardOf(TestCluster.Model.KvLayout, "other") : TestCluster.Model;
        var epoch = node.Epoch + (isNewLife ? 1UL : 0);
        var roles = RolesOf[Array.IndexOf(_nodes, node)];
        var result = _core.Register(
            TestCluster.Describe(node.Id, roles, epoch, blocks: 40, sequences: SequencesMax, model: model), _now);
        if (!result.IsAccepted)
        {
            return;
        }

        node.IsDraining &= !isNewLife;
        (node.Member, node.Epoch, node.Load, node.LastSeen) = (result.Membership, epoch, null, _now);
        (node.Sequence, node.IsFollowing) = (0, false);
        node.Keys.Clear();
    }

    private void Heartbeat(ModelNode node, int what)
    {
        var running = Next(SequencesMax + 1);
        var load = TestCluster.Idle(40 - running * 5) with
        {
            Running = running,
            BlocksHeld = running * 5,
            Ready = what != 0,
            Draining = what == 1 && Next(4) == 0,
            QueuedPrefillTokens = Next(256) * 4,
        };
        if (_core.Heartbeat(node.Member, load, _now))
        {
            (node.Load, node.LoadAt, node.LastSeen, node.Ended) = (load, _now, _now, 0);
        }
    }

    private void Release(RouteTicket ticket)
    {
        if (ticket.Decoding is { } decoding && !ticket.IsAddedToDecoding)
        {
            _nodes.Single(node => node.Id == decoding.Id).Ended++;
        }

        _core.Release(ticket, _now);
    }

    private void ChangeKeys(ModelNode node, int what)
    {
        var document = Next(Documents);
        var (from, to) = (Next(DocumentBlocks), Next(DocumentBlocks) + 1);
        var keys = from < to ? TestCluster.Keys(document, to - from, from) : [];
        var removes = what == 0;
        node.Sequence += what == 1 ? 1UL : 0;
        var batch = new KvEventBatch
        {
            Sequence = node.Sequence,
            Keys = keys,
            Removed = keys.Select(_ => removes).ToArray(),
        };
        var result = _core.Apply(node.Member, batch, _now);
        if (result == KvEventResult.NotMember)
        {
            return;
        }

        node.LastSeen = _now;
        node.IsFollowing &= what != 1;
        Assert.That(result == KvEventResult.Applied, Is.EqualTo(node.IsFollowing));
        if (result == KvEventResult.Applied)
        {
            node.Sequence += (ulong)keys.Length;
            Array.ForEach(keys, key => _ = removes ? node.Keys.Remove(key) : node.Keys.Add(key));
        }
    }

    private void Snapshot(ModelNode node)
    {
        var keys = TestCluster.Keys(Next(Documents), Next(DocumentBlocks) + 1);
        var batch = new KvEventBatch
        {
            Sequence = node.Sequence + 10,
            SnapshotBegin = true,
            SnapshotEnd = true,
            Keys = keys,
        };
        if (_core.Apply(node.Member, batch, _now) == KvEventResult.Applied)
        {
            node.Sequence += 11;
            (node.IsFollowing, node.LastSeen) = (true, _now);
            node.Keys.Clear();
            node.Keys.UnionWith(keys);
        }
    }

    private void Disconnect(ModelNode node, bool leaves)
    {
        if (leaves)
        {
            _core.Leave(node.Member, _now);
        }
        else
        {
            _core.Disconnect(node.Member, _now);
        }

        node.Member = default;
    }

    private void Submit()
    {
        var keys = TestCluster.Keys(Next(Documents), Next(DocumentBlocks + 1));
        var excluded = Next(3) == 0 ? Enumerable.Range(0, Next(NodeCount + 1)).Select(n => $"n{n}") : [];
        var query = TestCluster.Query(
            keys, 1 + Next(200), $"t{Next(3)}", newTokens: Next(4) == 0 ? 600 : 16, excluded: [.. excluded]);
        _tickets.Add(_core.Submit(query, _now));
    }

    private void TakeEvents()
    {
        foreach (var e in _core.Events)
        {
            Log.Add($"{_now} {e.Kind} {e.Ticket?.Id} {e.Ticket?.Pair} {e.Ticket?.Refusal} {e.NodeId} {e.Reason}");
            if (e.Kind == ConductorEventKind.Routed)
            {
                CheckPair(e.Ticket!);
            }
            else if (e.Kind == ConductorEventKind.NodeLost)
            {
                var epoch = _nodes.Single(node => node.Id == e.NodeId).Epoch;
                Assert.That(_lost.Add((e.Ticket!.Id, e.NodeId, epoch)), Is.True, "told once");
            }
        }

        _core.ClearEvents();
    }

    // The model's loads are those at the time of the decision: a step is one call, and its load is noted before.
    private void CheckPair(RouteTicket ticket)
    {
        var pair = ticket.Pair!;
        var decode = CheckWorker(ticket, pair.Decode);
        CheckWorker(ticket, pair.Prefill ?? pair.Decode);
        var unshown = _routed.Count(other => other.Decoding is { } node && node.Id == decode.Id
            && other.RoutedAt > decode.LoadAt - TimeSpan.FromMilliseconds(LoadDelayMs));
        Assert.That(Math.Max(0, decode.Load!.Running - decode.Ended) + unshown, Is.LessThan(SequencesMax), "has room");
        _routed.Add(ticket);
        if (pair.Source is { } source)
        {
            Assert.That(ticket.Query.ExcludedNodes, Has.No.Member(source.NodeId));
            var keys = _nodes.Single(node => node.Id == source.NodeId).Keys;
            Assert.That(
                ticket.Query.BlockKeys.ToArray().TakeWhile(keys.Contains).Count(), Is.EqualTo(pair.SourceBlocks));
        }

        var roles = RolesOf[int.Parse(pair.Decode.NodeId.AsSpan(1))];
        Assert.That((roles & NodeRoles.Decode) != 0 || pair.Degraded, Is.True, "a stand-in is said to be one");
    }

    private ModelNode CheckWorker(RouteTicket ticket, NodeAddress address)
    {
        var node = _nodes.Single(node => node.Id == address.NodeId);
        Assert.That(ticket.Query.ExcludedNodes, Has.No.Member(node.Id));
        Assert.That(node.Member, Is.Not.EqualTo(default(MembershipId)), "connected");
        Assert.That(node.IsDraining, Is.False, "not draining");
        Assert.That(node.Load, Is.Not.Null, "has reported");
        Assert.That(node.Load!.Ready && !node.Load.Draining, Is.True, "takes work");
        Assert.That((_now - node.LastSeen).TotalMilliseconds, Is.LessThan(4000), "not silent");
        return node;
    }

    private void Check()
    {
        _core.CheckIntegrity();
        Assert.That(_core.Waiting, Is.LessThanOrEqualTo(QueueMax));
        foreach (var node in _nodes)
        {
            if (StateOf(node) is not { } state)
            {
                (node.Member, node.Load, node.IsDraining) = (default, null, false);
                node.Keys.Clear();
                continue;
            }

            Assert.That(state.IndexedBlocks, Is.EqualTo(node.Keys.Count), node.Id);
            var routed = _tickets.Count(t => t.Decoding?.Id == node.Id || t.Prefilling?.Id == node.Id);
            Assert.That(state.Routed, Is.EqualTo(routed), node.Id);
        }
    }

    private static bool IsLive(RouteTicket ticket) => ticket.State is RouteState.Waiting or RouteState.Routed;

    private NodeState? StateOf(ModelNode node) =>
        _core.Nodes(_now).SingleOrDefault(state => state.Descriptor.NodeId == node.Id);

    private sealed record ModelNode(string Id)
    {
        public HashSet<BlockKey> Keys { get; } = [];

        public ulong Epoch { get; set; }

        public MembershipId Member { get; set; }

        public NodeLoad? Load { get; set; }

        public TimeSpan LastSeen { get; set; }

        public bool IsDraining { get; set; }

        public ulong Sequence { get; set; }

        public bool IsFollowing { get; set; }

        public TimeSpan LoadAt { get; set; }

        /// <summary>Requests in its last load that have ended since.</summary>
        public int Ended { get; set; }
    }
}
