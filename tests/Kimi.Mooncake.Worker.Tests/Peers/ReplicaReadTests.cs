using System.Net;
using System.Net.Sockets;
using Grpc.Core;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Placement;
using Kimi.Mooncake.Tests;
using Kimi.Mooncake.Worker.Peers;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Worker.Tests.Peers;

/// <summary>Blocks with several replicas: written, copied, and read from whichever store node can give them.</summary>
[TestFixture]
public sealed class ReplicaReadTests
{
    private const int Blocks = 20;

    // A busy machine must not look like a slow peer.
    private static readonly PeerBlocksOptions Patient = new()
    {
        MatchTimeoutMs = 20_000,
        HedgeMs = 10_000,
        PullTimeoutMs = 60_000,
        PullSwitchMs = 60_000,
        PutTimeoutMs = 60_000,
        BreakerPauseMs = 600_000,
    };

    private static readonly BlockAttributes Context = new(
        "tenant", new BlockRetention(PinKind.Soft, PinSeconds: 3600), BlockClass.Context);

    private readonly List<TemporaryFolder> _folders = [];
    private readonly List<BlockNode> _nodes = [];

    [TearDown]
    public async Task DisposeAsync()
    {
        foreach (var node in _nodes.AsEnumerable().Reverse())
        {
            await node.DisposeAsync();
        }

        _folders.ForEach(folder => folder.Dispose());
        _nodes.Clear();
        _folders.Clear();
    }

    [Test]
    public async Task Save_OfAContext_GoesToTwoNodesAndOfAPromptToOne()
    {
        var (one, other) = (await StoreAsync(), await StoreAsync());
        var writer = await WorkerAsync(Patient, one.Address, other.Address);

        await SaveAsync(writer, 0, Blocks, Context);
        await SaveAsync(writer, Blocks, Blocks, BlockAttributes.Default);

        foreach (var store in new[] { one, other })
        {
            Assert.That(store.Store!.CountStored(PeerBlocks.Keys(0, Blocks)), Is.EqualTo(Blocks));
        }

        Assert.That(one.Store!.Statistics().Blocks + other.Store!.Statistics().Blocks, Is.EqualTo(3 * Blocks));
    }

    [Test]
    public async Task Load_ANodeIsLostAfterItSaidWhatItHas_ComesFromTheOther()
    {
        var (one, other) = (await StoreAsync(), await StoreAsync());
        await SaveAsync(await WorkerAsync(Patient, one.Address, other.Address), 0, Blocks, Context);
        var reader = await WorkerAsync(Patient, one.Address, other.Address);
        await reader.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(Blocks)));

        await one.KillServerAsync();
        var loaded = await LoadAsync(reader);

        Assert.That(loaded, Is.EqualTo(Blocks));
        RequireBlocks(reader);
        Assert.That(reader.Traffic.PulledBlocks, Is.EqualTo(Blocks));
        Assert.That(reader.Transfer.Statistics().Reservations, Is.Zero);
    }

    [Test]
    public async Task Load_ANodeWasLostBefore_ComesFromTheOther()
    {
        var (one, other) = (await StoreAsync(), await StoreAsync());
        await SaveAsync(await WorkerAsync(Patient, one.Address, other.Address), 0, Blocks, Context);
        var reader = await WorkerAsync(Patient, one.Address, other.Address);
        await one.KillServerAsync();

        await reader.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(Blocks)));

        Assert.That(await LoadAsync(reader), Is.EqualTo(Blocks));
        RequireBlocks(reader);
    }

    [Test]
    public async Task Load_ANodeHasDroppedBlocks_TakesThemFromTheOther()
    {
        var (one, other) = (await StoreAsync(), await StoreAsync());
        await SaveAsync(await WorkerAsync(Patient, one.Address, other.Address), 0, Blocks, Context);
        var reader = await WorkerAsync(Patient, one.Address, other.Address);
        one.Store!.Remove(PeerBlocks.Key(3));
        other.Store!.Remove(PeerBlocks.Key(10));

        await reader.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(Blocks)));

        Assert.That(await LoadAsync(reader), Is.EqualTo(Blocks));
        RequireBlocks(reader);
    }

    [Test]
    public async Task Prepare_ANodeThatNeverAnswers_AsksTheOtherAfterTheNamedTimeAndThenFirst()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var hung = $"http://{listener.LocalEndpoint}";
        var store = await StoreAsync();
        await SaveAsync(await WorkerAsync(Patient, store.Address), 0, Blocks, BlockAttributes.Default);
        // Far longer than an answer takes, so that the one that answers is the faster one on any machine.
        var hedging = Patient with { HedgeMs = 1000, SlowFactor = 1.1 };
        var reader = await WorkerAsync(hedging, hung, store.Address);

        await reader.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(Blocks)));
        var hedges = reader.Traffic.Hedges;

        Assert.That(reader.Connector.CountStored(PeerBlocks.Keys(0, Blocks)), Is.EqualTo(Blocks));
        Assert.That(await LoadAsync(reader), Is.EqualTo(Blocks), "not waited for");
        // Which groups it would be asked for first depends on its port: that it is slow is known if there are any.
        await reader.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(Blocks)));
        Assert.That(reader.Traffic.Hedges, Is.EqualTo(hedges), "the slow one is asked last");
        Assert.That(reader.Metric("kv_store_nodes_slow"), Is.EqualTo(hedges > 0 ? 1 : 0));
    }

    [Test]
    public async Task Load_ANodeThatSendsNothing_ComesFromTheOtherAfterTheNamedTime()
    {
        var store = await StoreAsync();
        await SaveAsync(await WorkerAsync(Patient, store.Address), 0, Blocks, BlockAttributes.Default);
        var hung = new HungBlocks();
        await using var server = await LoopbackServer.StartAsync(hung, store.Transfer.Service);
        _nodes.Add(await BlockNode.StartAsync(
            new BlockNodePlan { Peers = Patient with { PullSwitchMs = 100, BreakerFailuresMax = 1 }, Host = "here" }));
        var reader = _nodes[^1];
        // The nearest is asked first.
        reader.Connector.SetStoreNodes([new(server.Address, "here"), new(store.Address, "there")]);
        await reader.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(Blocks)));

        Assert.That(await LoadAsync(reader), Is.EqualTo(Blocks));

        RequireBlocks(reader);
        Assert.That(hung.Pulls, Is.EqualTo(1));
        Assert.That(reader.Metric("kv_peers_left_alone"), Is.Zero, "it may only be slow");
        Assert.That(reader.Metric("kv_store_nodes_slow"), Is.EqualTo(1));
        Assert.That(reader.Traffic.Failovers, Is.EqualTo(1));
        Assert.That(reader.Traffic.PulledBlocks, Is.EqualTo(Blocks));
        Assert.That(reader.Transfer.Statistics().Reservations, Is.Zero);
    }

    [Test]
    public async Task Load_TheOnlyNodeThatHasTheBlocksIsSlow_IsWaitedFor()
    {
        // Arrange: one sends only after the other was asked and has said that it has nothing.
        var (one, other) = (await StoreAsync(), await StoreAsync());
        await SaveAsync(await WorkerAsync(Patient, one.Address), 0, 8, BlockAttributes.Default);
        var asked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var slow = await LoopbackServer.StartAsync(
            new PassedOnBlocks(one.Blocks) { BeforePull = asked.Task }, one.Transfer.Service);
        await using var empty = await LoopbackServer.StartAsync(
            new PassedOnBlocks(other.Blocks) { Matched = asked }, other.Transfer.Service);
        _nodes.Add(await BlockNode.StartAsync(
            new BlockNodePlan { Peers = Patient with { PullSwitchMs = 1, BreakerFailuresMax = 1 }, Host = "here" }));
        var reader = _nodes[^1];
        reader.Connector.SetStoreNodes([new(slow.Address, "here"), new(empty.Address, "there")]);
        await reader.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(8)));

        // Act
        var loaded = await reader.TakeAsync(
            reader.Connector.BeginLoad(PeerBlocks.Keys(0, 8), PeerBlocks.Ids(0, 8)));

        // Assert
        Assert.That(loaded, Is.EqualTo(8));
        reader.RequireBlock(7, 7);
        Assert.That(reader.Traffic.Failovers, Is.Zero);
        Assert.That(reader.Traffic.Failures(PeerFailure.TimedOut), Is.Zero);
    }

    [Test]
    public void Next_ASourceThatIsSlow_IsTheLastOne()
    {
        var options = new PeerBlocksOptions();
        Peer[] sources = [.. "abc".Select(name => new Peer($"http://{name}", options, TimeProvider.System))];
        var tried = new TriedSources("http://own");

        tried.Add(sources[0], sources, TriedSources.Left);
        Assert.That(tried.Next(sources), Is.SameAs(sources[1]));
        Assert.That(tried.OthersThan(sources[1], sources), Is.EqualTo(new[] { sources[2] }));
        Assert.That(tried.OthersThan(sources[0], sources), Is.Empty, "it is not left twice");

        tried.Add(sources[1], sources, outcome: 0);
        tried.Add(sources[2], sources, TriedSources.Failed);
        Assert.That(tried.Next(sources), Is.SameAs(sources[0]));
        tried.Add(sources[0], sources, TriedSources.Failed);
        Assert.That(tried.Next(sources), Is.Null);
    }

    [Test]
    public async Task Save_NoStoreNodeIsReached_IsNotSaved()
    {
        var writer = await WorkerAsync(Patient with { PutTimeoutMs = 1000 }, "http://127.0.0.1:9");
        writer.Pool.Publish(0, 8);

        for (var attempt = 0; attempt < 4; attempt++)
        {
            // At first the put fails; then the node is left alone, and nothing is tried.
            var saved = await writer.TakeAsync(writer.Connector.BeginSave(
                PeerBlocks.Keys(0, 8), PeerBlocks.Parents(0, 8), PeerBlocks.Groups(0, 8), PeerBlocks.Ids(0, 8),
                [.. Enumerable.Repeat(BlockAttributes.Default, 8)]));
            Assert.That(saved, Is.Zero);
        }
    }

    [Test]
    public async Task Copy_ToAnotherNode_HasTheSameBytesParentsAndAttributes()
    {
        var (one, other) = (await StoreAsync(), await StoreAsync());
        await SaveAsync(await WorkerAsync(Patient, one.Address), 0, Blocks, Context);

        var task = new ReplicaTask(1, other.Address, PeerBlocks.Keys(0, Blocks));
        var outcome = await one.Blocks.CopyAsync(task, CancellationToken.None).WaitAsync(BlockNode.Patience);

        Assert.That(outcome, Is.EqualTo(new ReplicaOutcome(Blocks, IsDone: true)));
        var bytes = new byte[PeerBlocks.Layout.BytesPerBlock];
        for (var i = 0; i < Blocks; i++)
        {
            Assert.That(other.Store!.TryGet(PeerBlocks.Key(i), bytes), Is.True);
            Assert.That(bytes, Is.EqualTo(PeerBlocks.Bytes(i)));
            Assert.That(other.Store.TryDescribe(PeerBlocks.Key(i), out var parent, out var attributes), Is.True);
            Assert.That(parent, Is.EqualTo(PeerBlocks.Parents(i, 1)[0]));
            Assert.That((attributes.Tenant, attributes.Class), Is.EqualTo(("tenant", BlockClass.Context)));
            Assert.That(attributes.Retention.Pin, Is.EqualTo(PinKind.Soft));
            Assert.That(attributes.Retention.PinSeconds, Is.InRange(3000, 3600));
        }

        var again = await one.Blocks.CopyAsync(task, CancellationToken.None).WaitAsync(BlockNode.Patience);
        Assert.That(again, Is.EqualTo(new ReplicaOutcome(0, IsDone: true)), "what is there is not sent again");
    }

    [Test]
    public async Task Copy_OfWhatTheOtherHas_ReadsNothing()
    {
        var (one, other) = (await StoreAsync(), await StoreAsync());
        await SaveAsync(await WorkerAsync(Patient, one.Address), 0, Blocks, Context);
        await SaveAsync(await WorkerAsync(Patient, other.Address), 0, 8, Context);
        // Only because it is not read does nobody notice that it is gone.
        one.Store!.Remove(PeerBlocks.Key(3));

        var outcome = await one.Blocks.CopyAsync(
            new ReplicaTask(1, other.Address, PeerBlocks.Keys(0, Blocks)), CancellationToken.None)
            .WaitAsync(BlockNode.Patience);

        Assert.That(outcome, Is.EqualTo(new ReplicaOutcome(Blocks - 8, IsDone: true)));
    }

    [Test]
    public async Task Copy_OfWhatIsGone_EndsThereAndSaysSo()
    {
        var (one, other) = (await StoreAsync(), await StoreAsync());
        await SaveAsync(await WorkerAsync(Patient, one.Address), 0, Blocks, Context);
        one.Store!.Remove(PeerBlocks.Key(5));

        var outcome = await one.Blocks.CopyAsync(
            new ReplicaTask(1, other.Address, PeerBlocks.Keys(0, Blocks)), CancellationToken.None)
            .WaitAsync(BlockNode.Patience);

        Assert.That(outcome, Is.EqualTo(new ReplicaOutcome(5, IsDone: false)));
    }

    [Test]
    public async Task Copy_ToNobody_FailsAndGivesItsMemoryBack()
    {
        var one = await StoreAsync();
        await SaveAsync(await WorkerAsync(Patient, one.Address), 0, Blocks, Context);

        for (var attempt = 0; attempt < 3; attempt++)
        {
            var outcome = await one.Blocks.CopyAsync(
                new ReplicaTask(1, "http://127.0.0.1:9", PeerBlocks.Keys(0, Blocks)), CancellationToken.None)
                .WaitAsync(BlockNode.Patience);
            Assert.That(outcome, Is.EqualTo(default(ReplicaOutcome)));
        }
    }

    [Test]
    public async Task StoredKeys_PutRemovedAndFound_AreTold()
    {
        var one = await StoreAsync();
        await SaveAsync(await WorkerAsync(Patient, one.Address), 0, 8, BlockAttributes.Default);
        var keys = new StoredKeys(keysMax: 1000, Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);

        one.Store!.Subscribe(keys);
        Assert.That(keys.Feed.CountLeading(PeerBlocks.Keys(0, 20)), Is.EqualTo(8), "what was there before");
        await SaveAsync(await WorkerAsync(Patient, one.Address), 8, 4, BlockAttributes.Default);
        Assert.That(keys.Feed.CountLeading(PeerBlocks.Keys(0, 20)), Is.EqualTo(12));

        one.Store.Remove(PeerBlocks.Key(11));
        Assert.That(keys.Feed.CountLeading(PeerBlocks.Keys(0, 20)), Is.EqualTo(11));
    }

    /// <summary>Has every block, and never sends one.</summary>
    private sealed class HungBlocks : Wire.KvBlocks.KvBlocksBase
    {
        private int _pulls;

        public int Pulls => Volatile.Read(ref _pulls);

        public override Task<Wire.MatchResponse> Match(Wire.MatchRequest request, ServerCallContext context)
        {
            var response = new Wire.MatchResponse();
            response.RunBlocks.AddRange(request.Runs);
            return Task.FromResult(response);
        }

        public override async Task<Wire.PullResponse> Pull(Wire.PullRequest request, ServerCallContext context)
        {
            Interlocked.Increment(ref _pulls);
            var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            await ended.Task.WaitAsync(context.CancellationToken);
            return new Wire.PullResponse();
        }
    }

    /// <summary>The blocks of a node, which sends them only when it may.</summary>
    private sealed class PassedOnBlocks(BlocksService blocks) : Wire.KvBlocks.KvBlocksBase
    {
        public Task BeforePull { get; init; } = Task.CompletedTask;

        public TaskCompletionSource? Matched { get; init; }

        public override async Task<Wire.MatchResponse> Match(Wire.MatchRequest request, ServerCallContext context)
        {
            var response = await blocks.Match(request, context);
            Matched?.TrySetResult();
            return response;
        }

        public override async Task<Wire.PullResponse> Pull(Wire.PullRequest request, ServerCallContext context)
        {
            await BeforePull.WaitAsync(context.CancellationToken);
            return await blocks.Pull(request, context);
        }
    }

    private async Task<BlockNode> StoreAsync()
    {
        _folders.Add(new TemporaryFolder());
        _nodes.Add(await BlockNode.StartAsync(
            new BlockNodePlan { StoreFolder = _folders[^1].Path, TakesPuts = true, Peers = Patient }));
        return _nodes[^1];
    }

    private async Task<BlockNode> WorkerAsync(PeerBlocksOptions options, params string[] stores)
    {
        _nodes.Add(await BlockNode.StartAsync(new BlockNodePlan { Peers = options }));
        _nodes[^1].Connector.SetStoreNodes(stores.Select(address => new StoreNodeAddress(address, "")));
        return _nodes[^1];
    }

    private static async Task SaveAsync(BlockNode worker, int first, int count, BlockAttributes attributes)
    {
        worker.Pool.Publish(first, count);
        var saved = await worker.TakeAsync(worker.Connector.BeginSave(
            PeerBlocks.Keys(first, count), PeerBlocks.Parents(first, count), PeerBlocks.Groups(first, count),
            PeerBlocks.Ids(first, count), [.. Enumerable.Repeat(attributes, count)]));
        Assert.That(saved, Is.EqualTo(count));
    }

    private static Task<int> LoadAsync(BlockNode reader) =>
        reader.TakeAsync(reader.Connector.BeginLoad(PeerBlocks.Keys(0, Blocks), PeerBlocks.Ids(0, Blocks)));

    private static void RequireBlocks(BlockNode reader)
    {
        for (var i = 0; i < Blocks; i++)
        {
            reader.RequireBlock(i, i);
        }
    }
}
