using Grpc.Core;
using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;
using Kimi.Mooncake.Protocol;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>Nodes come, tell, and go, over real connections.</summary>
[TestFixture]
internal sealed class MembershipTests
{
    private const int ManyKeys = (3 * NodeSession.KeysPerMessage) + 7;

    private static readonly Uri Somewhere = new("http://127.0.0.1:9/");

    private SimulatedCluster _cluster = null!;

    [SetUp]
    public async Task StartAsync() => _cluster = await SimulatedCluster.StartAsync();

    [TearDown]
    public async Task StopAsync() => await _cluster.DisposeAsync();

    [Test]
    public async Task Node_Registered_IsListedWithItsLoad()
    {
        var node = new SimulatedNode { State = SimulatedNode.Idle() with { Waiting = 3, QueuedPrefillTokens = 900 } };
        await JoinAsync("n", NodeRoles.Decode | NodeRoles.Prefill, node);
        await Eventually.BecomesAsync(() => _cluster.HealthOf("n") == NodeHealth.Ready, "a load");

        var listed = (await ListAsync()).Nodes.Single();

        Assert.That(listed.Registration.NodeId, Is.EqualTo("n"));
        Assert.That(
            listed.Registration.Roles, Is.EquivalentTo(new[] { Wire.NodeRole.Prefill, Wire.NodeRole.Decode }));
        Assert.That(ModelMessages.ToCard(listed.Registration.Model), Is.EqualTo(node.Model));
        Assert.That((listed.Load.Waiting, listed.Load.QueuedPrefillTokens), Is.EqualTo((3u, 900ul)));
        Assert.That(listed.Load.PrefillCost.TokenSeconds, Is.EqualTo(0.001));
        Assert.That(listed.Health, Is.EqualTo(Wire.NodeHealth.Ready));
    }

    [Test]
    public async Task Node_NotReady_SaysWhy()
    {
        var node = new SimulatedNode { State = new NodeLoad { Ready = false, NotReadyReason = "the disk is gone" } };
        await JoinAsync("n", NodeRoles.Decode, node);

        await Eventually.BecomesAsync(
            () => _cluster.StateOf("n")?.HealthReason.Contains("the disk is gone") == true, "the reason");
        Assert.That(_cluster.HealthOf("n"), Is.EqualTo(NodeHealth.Suspect));
    }

    [TestCase('b', SimulatedNode.BlockTokens)]
    [TestCase('a', 2 * SimulatedNode.BlockTokens)]
    public async Task Node_OfAnotherModelOrLayout_IsRefusedUntilItFits(char fingerprint, int blockTokens)
    {
        await JoinAsync("first", NodeRoles.Decode, new SimulatedNode());
        var node = new SimulatedNode { Model = SimulatedNode.ModelOf(fingerprint, blockTokens) };
        var agent = _cluster.AgentOf("second", NodeRoles.Prefill, node, Somewhere);
        agent.Start();

        var reason = await agent.Refused.WaitAsync(Eventually.Patience);

        Assert.That(reason, Does.Contain(fingerprint == 'b' ? "bbbb" : "block=32"));
        Assert.That(agent.IsMember, Is.False);
        Assert.That(_cluster.StateOf("second"), Is.Null);

        node.Model = SimulatedNode.ModelOf('a');
        await agent.Registered.WaitAsync(Eventually.Patience);
    }

    [Test]
    public async Task Node_WithManyKeys_IsIndexedWhole()
    {
        var feed = new KvEventFeed();
        feed.Publish(Added(0, ManyKeys));
        await JoinAsync("n", NodeRoles.Decode, new SimulatedNode { KvEvents = feed });

        await IndexedAsync("n", ManyKeys);
    }

    [Test]
    public async Task Node_WithNewKeys_TellsThem()
    {
        var feed = new KvEventFeed();
        await JoinAsync("n", NodeRoles.Decode, new SimulatedNode { KvEvents = feed });
        feed.Publish(Added(0, ManyKeys));
        await IndexedAsync("n", ManyKeys);

        feed.Publish([.. Enumerable.Range(7, ManyKeys - 7).Reverse().Select(n => new KvEvent(TestKeys.Of(n), true))]);

        await IndexedAsync("n", 7);
        Assert.That(_cluster.Conductor.Counters().KvResyncs, Is.Zero);
    }

    [Test]
    public async Task Node_WhoseLogIsOverrun_TellsAllAnew()
    {
        var feed = new KvEventFeed(logEventsMax: 16);
        await JoinAsync("n", NodeRoles.Decode, new SimulatedNode { KvEvents = feed });
        for (var i = 0; i < ManyKeys; i += 100)
        {
            feed.Publish(Added(i, Math.Min(100, ManyKeys - i)));
        }

        await IndexedAsync("n", ManyKeys);
    }

    [Test]
    public async Task Conductor_Restarted_HasTheNodeWithItsKeysAgain()
    {
        var feed = new KvEventFeed();
        feed.Publish(Added(0, 100));
        await JoinAsync("n", NodeRoles.Decode, new SimulatedNode { KvEvents = feed });
        await IndexedAsync("n", 100);

        await _cluster.StopConductorAsync();
        feed.Publish(Added(100, 50));
        await _cluster.StartConductorAsync(_cluster.ConductorAddress.Port);

        await IndexedAsync("n", 150);
        Assert.That(_cluster.HealthOf("n"), Is.EqualTo(NodeHealth.Ready));
    }

    [Test]
    public async Task Events_WithAGap_AreAskedForAnew()
    {
        using var call = new Wire.Conductor.ConductorClient(_cluster.Invoker(_cluster.ConductorAddress)).Attach();
        await call.RequestStream.WriteAsync(Registration("n"));
        await call.RequestStream.WriteAsync(Events(0, begin: true, end: true));
        await call.RequestStream.WriteAsync(Events(1, TestKeys.Of(1)));
        await call.RequestStream.WriteAsync(Events(3, TestKeys.Of(3)));

        var heard = await ReadUntilAsync(call, Wire.ConductorMessage.MessageOneofCase.Resync);
        await call.RequestStream.WriteAsync(Events(3, begin: true, end: true, TestKeys.Of(1), TestKeys.Of(2)));
        await call.RequestStream.WriteAsync(Events(4, TestKeys.Of(4)));

        Assert.That(heard[0], Is.EqualTo(Wire.ConductorMessage.MessageOneofCase.Accepted));
        await IndexedAsync("n", 3);
        await call.RequestStream.CompleteAsync();
    }

    [Test]
    public async Task Messages_ThatMayNotBe_EndTheCallWithTheField()
    {
        var bad = Registration("n");
        bad.Registration.Roles.Add((Wire.NodeRole)9);
        await AssertEndsAsync("roles", bad);
        bad = Registration("n");
        bad.Registration.Model.Fingerprint = "x";
        await AssertEndsAsync("fingerprint", bad);
        await AssertEndsAsync("first message", new Wire.NodeMessage { Load = new Wire.NodeLoad() });
        await AssertEndsAsync("registration", Registration("n"), Registration("n"));
        await AssertEndsAsync("prefill_cost.token_seconds", Registration("n"), new Wire.NodeMessage
        {
            Load = new Wire.NodeLoad { PrefillCost = new Wire.PrefillCost { TokenSeconds = double.NaN } },
        });
        var odd = new Wire.NodeMessage { KvEvents = new Wire.KvEvents { SnapshotBegin = true, SnapshotEnd = true } };
        odd.KvEvents.Keys = Google.Protobuf.ByteString.CopyFrom(new byte[33]);
        await AssertEndsAsync("33 bytes", Registration("n"), odd);
    }

    [Test]
    public async Task Node_OfAnEarlierLife_IsRefused()
    {
        var now = _cluster.AgentOf("n", NodeRoles.Decode, new SimulatedNode(), Somewhere);
        var later = _cluster.AgentOf("n", NodeRoles.Decode, new SimulatedNode(), Somewhere);
        later.Start();
        await later.Registered.WaitAsync(Eventually.Patience);

        now.Start();

        Assert.That(await now.Refused.WaitAsync(Eventually.Patience), Does.Contain("n"));
        Assert.That(later.IsMember);
    }

    [Test]
    public async Task Node_ThatStops_IsGoneAtOnce()
    {
        var agent = await JoinAsync("n", NodeRoles.Decode, new SimulatedNode());

        await agent.DisposeAsync();

        // The leave is taken before the call ends, well before any silence is noticed.
        Assert.That(_cluster.HealthOf("n"), Is.Not.EqualTo(NodeHealth.Ready));
    }

    [Test]
    public async Task Node_WhoseConductorDoesNotListen_StopsAllTheSame()
    {
        await using var server = await LoopbackServer.StartAsync(new DeafConductor());
        var agent = new NodeAgent(
            _cluster.Invoker(server.Address), new NodeIdentity("n", 1, NodeRoles.Decode, Somewhere.AbsoluteUri),
            new SimulatedNode(), new NodeAgentOptions { LeaveTimeoutMs = 50 }, TimeProvider.System,
            Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
        agent.Start();
        await agent.Registered.WaitAsync(Eventually.Patience);

        await agent.DisposeAsync().AsTask().WaitAsync(Eventually.Patience);

        Assert.That(agent.IsMember, Is.False);
    }

    [Test]
    public async Task Drain_OfANode_EndsWhenItHasNothingLeft()
    {
        var node = new SimulatedNode { State = SimulatedNode.Idle() with { Running = 2 } };
        await JoinAsync("n", NodeRoles.Decode, node);
        await Eventually.BecomesAsync(() => _cluster.StateOf("n")?.Load?.Running == 2, "its load");
        using var call = new Wire.Conductor.ConductorClient(_cluster.Invoker(_cluster.ConductorAddress))
            .Drain(new Wire.DrainRequest { NodeId = "n" });
        Assert.That(await call.ResponseStream.MoveNext(CancellationToken.None));
        Assert.That(call.ResponseStream.Current, Is.EqualTo(new Wire.DrainEvent { RequestsLeft = 2 }));
        await node.Draining.Task.WaitAsync(Eventually.Patience);
        Assert.That(_cluster.HealthOf("n"), Is.EqualTo(NodeHealth.Draining));

        node.State = SimulatedNode.Idle();

        var last = new Wire.DrainEvent();
        while (await call.ResponseStream.MoveNext(CancellationToken.None))
        {
            last = call.ResponseStream.Current;
        }

        Assert.That(last, Is.EqualTo(new Wire.DrainEvent { Drained = true }));
    }

    [Test]
    public async Task Drain_OfANodeThatIsAway_IsToldWhenItIsBack()
    {
        var conductor = new Wire.Conductor.ConductorClient(_cluster.Invoker(_cluster.ConductorAddress));
        using (var call = conductor.Attach())
        {
            await call.RequestStream.WriteAsync(Registration("n"));
            await ReadUntilAsync(call, Wire.ConductorMessage.MessageOneofCase.Accepted);
        }

        Assert.That(_cluster.Conductor.Drain("n"));
        using var again = conductor.Attach();
        await again.RequestStream.WriteAsync(Registration("n"));

        await ReadUntilAsync(again, Wire.ConductorMessage.MessageOneofCase.Drain);
        await again.RequestStream.CompleteAsync();
    }

    [Test]
    public async Task Drain_OfNobody_IsNotFound()
    {
        using var call = new Wire.Conductor.ConductorClient(_cluster.Invoker(_cluster.ConductorAddress))
            .Drain(new Wire.DrainRequest { NodeId = "nobody" });

        var fault = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext(CancellationToken.None));
        Assert.That(fault!.StatusCode, Is.EqualTo(StatusCode.NotFound));
        Assert.That(fault.Status.Detail, Does.Contain("nobody"));
    }

    [Test]
    public async Task StoreNodes_ThatComeAndGo_AreToldToAll()
    {
        var agent = await JoinAsync("n", NodeRoles.Decode, new SimulatedNode());
        var store = await JoinAsync("s", NodeRoles.Store, new SimulatedNode { SequencesMax = 0 });

        await Eventually.BecomesAsync(
            () => agent.StoreNodes.Select(node => node.Address).SequenceEqual([Somewhere.AbsoluteUri]),
            "the store node's address");
        await store.DisposeAsync();
        await Eventually.BecomesAsync(() => agent.StoreNodes.Count == 0, "the end of the store node");
    }

    private static KvEvent[] Added(int first, int count) =>
        [.. Enumerable.Range(first, count).Select(number => new KvEvent(TestKeys.Of(number), Removed: false))];

    private static Wire.NodeMessage Registration(string nodeId) => new()
    {
        Registration = ConductorMessages.ToMessage(new NodeDescriptor(
            nodeId, 1, NodeRoles.Decode, Somewhere.AbsoluteUri, SimulatedNode.ModelOf('a'), 100, 8)),
    };

    private static Wire.NodeMessage Events(ulong sequence, params BlockKey[] keys)
    {
        var events = new Wire.KvEvents { Sequence = sequence, Keys = BlockKeyMessages.ToBytes(keys) };
        events.Removed.AddRange(keys.Select(_ => false));
        return new Wire.NodeMessage { KvEvents = events };
    }

    private static Wire.NodeMessage Events(ulong sequence, bool begin, bool end, params BlockKey[] keys) => new()
    {
        KvEvents = new Wire.KvEvents
        {
            Sequence = sequence,
            SnapshotBegin = begin,
            SnapshotEnd = end,
            Keys = BlockKeyMessages.ToBytes(keys),
        },
    };

    private static async Task<List<Wire.ConductorMessage.MessageOneofCase>> ReadUntilAsync(
        AsyncDuplexStreamingCall<Wire.NodeMessage, Wire.ConductorMessage> call,
        Wire.ConductorMessage.MessageOneofCase last)
    {
        using var limit = new CancellationTokenSource(Eventually.Patience);
        var heard = new List<Wire.ConductorMessage.MessageOneofCase>();
        while (!heard.Contains(last))
        {
            Assert.That(await call.ResponseStream.MoveNext(limit.Token));
            heard.Add(call.ResponseStream.Current.MessageCase);
        }

        return heard;
    }

    private async Task AssertEndsAsync(string words, params Wire.NodeMessage[] messages)
    {
        using var limit = new CancellationTokenSource(Eventually.Patience);
        using var call = new Wire.Conductor.ConductorClient(_cluster.Invoker(_cluster.ConductorAddress)).Attach();
        foreach (var message in messages)
        {
            await call.RequestStream.WriteAsync(message);
        }

        var fault = await Assert.ThrowsAsync<RpcException>(async () =>
        {
            while (await call.ResponseStream.MoveNext(limit.Token))
            {
            }
        });
        Assert.That(fault!.StatusCode, Is.EqualTo(StatusCode.InvalidArgument));
        Assert.That(fault.Status.Detail, Does.Contain(words).IgnoreCase);
    }

    private async Task<NodeAgent> JoinAsync(string nodeId, NodeRoles roles, SimulatedNode node)
    {
        var agent = _cluster.AgentOf(nodeId, roles, node, Somewhere);
        agent.Start();
        await agent.Registered.WaitAsync(Eventually.Patience);
        return agent;
    }

    private Task IndexedAsync(string nodeId, int keys) => Eventually.BecomesAsync(
        () => _cluster.StateOf(nodeId)?.IndexedBlocks == keys, $"an index of {keys} keys");

    private async Task<Wire.ListNodesResponse> ListAsync() =>
        await new Wire.Conductor.ConductorClient(_cluster.Invoker(_cluster.ConductorAddress))
            .ListNodesAsync(new Wire.ListNodesRequest());

    /// <summary>Accepts everybody, and hears nothing any more.</summary>
    private sealed class DeafConductor : Wire.Conductor.ConductorBase
    {
        public override async Task Attach(
            IAsyncStreamReader<Wire.NodeMessage> requestStream,
            IServerStreamWriter<Wire.ConductorMessage> responseStream, ServerCallContext context)
        {
            await requestStream.MoveNext(context.CancellationToken);
            await responseStream.WriteAsync(new Wire.ConductorMessage
            {
                Accepted = new Wire.NodeAccepted { LoadIntervalMs = 10 },
            });
            await new TaskCompletionSource().Task.WaitAsync(context.CancellationToken);
        }
    }
}
