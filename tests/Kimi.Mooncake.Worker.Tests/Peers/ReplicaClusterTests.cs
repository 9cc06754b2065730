using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Tests;
using Kimi.Mooncake.Transfer;
using Kimi.Mooncake.Worker.Peers;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Worker.Tests.Peers;

/// <summary>
/// A conductor, store nodes and workers, over real connections: what is hot is kept twice, a lost store node costs
/// nothing that is hot, and what it had is kept twice again.
/// </summary>
[TestFixture]
public sealed class ReplicaClusterTests
{
    private const int Blocks = 40;
    private const int StoreNodes = 4;

    private static readonly PeerBlocksOptions Patient = new()
    {
        MatchTimeoutMs = 20_000,
        HedgeMs = 10_000,
        PullTimeoutMs = 60_000,
        PullSwitchMs = 60_000,
        PutTimeoutMs = 60_000,
    };

    private readonly List<IAsyncDisposable> _owned = [];
    private readonly List<TemporaryFolder> _folders = [];
    private readonly List<(string Id, BlockNode Node, NodeAgent Agent)> _stores = [];
    private PeerChannels _channels = null!;
    private ConductorLoop _conductor = null!;
    private string _address = "";

    [SetUp]
    public async Task StartAsync()
    {
        _channels = new PeerChannels(new PeerOptions(), NullLoggerFactory.Instance);
        _conductor = new ConductorLoop(
            new ConductorOptions { LoadIntervalMs = 20, SuspectAfterMs = 20_000, ExpireAfterMs = 60_000 },
            TimeProvider.System, NullLogger.Instance,
            new ReplicaOptions { HotRequestsPerSecond = 0.001, HotWindowSeconds = 1000 });
        var transfer = new TransferEngine(
            new TransferOptions(), new PeerOptions(), NullLoggerFactory.Instance, TimeProvider.System);
        var server = await LoopbackServer.StartAsync(
            new ConductorService(_conductor, TimeProvider.System), transfer.Service);
        _address = server.Address;
        _owned.AddRange([transfer, server]);
    }

    [TearDown]
    public async Task StopAsync()
    {
        // Memberships end before the server, which would wait for them.
        await _conductor.DisposeAsync();
        foreach (var part in _owned.AsEnumerable().Reverse())
        {
            await part.DisposeAsync();
        }

        _channels.Dispose();
        _folders.ForEach(folder => folder.Dispose());
        _owned.Clear();
        _folders.Clear();
        _stores.Clear();
    }

    [Test]
    public async Task HotBlocks_AStoreNodeIsLost_AreReadElsewhereAndKeptTwiceAgain()
    {
        for (var number = 0; number < StoreNodes; number++)
        {
            await AddStoreAsync(number);
        }

        var writer = await AddWorkerAsync("writer");
        var reader = await AddWorkerAsync("reader");
        await SaveAsync(writer);
        await WorkerNode.UntilAsync(() => Indexed() == Blocks, "the conductor knows every block");

        await RouteAsync();
        await RouteAsync();
        await WorkerNode.UntilAsync(
            () => AreKeptTwice() && _conductor.Replicas().Orders == 0, "every block is kept twice, and reported");
        Assert.That(_conductor.Counters().ReplicasRestoring, Is.Zero);

        var lost = _stores.MaxBy(store => store.Node.Store!.Statistics().Blocks);
        Assert.That(lost.Node.Store!.Statistics().Blocks, Is.Positive);
        await lost.Node.KillServerAsync();
        // The reader need not have heard of it: what it asks there first, it gets from the other replica.
        await reader.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(Blocks)));
        var loaded = await reader.TakeAsync(
            reader.Connector.BeginLoad(PeerBlocks.Keys(0, Blocks), PeerBlocks.Ids(0, Blocks)));
        Assert.That(loaded, Is.EqualTo(Blocks));
        for (var i = 0; i < Blocks; i++)
        {
            reader.RequireBlock(i, i);
        }

        await lost.Agent.DisposeAsync();
        _stores.Remove(lost);
        await WorkerNode.UntilAsync(
            () => AreKeptTwice() && _conductor.Replicas().Orders == 0, "every block is kept twice again");
        Assert.That(_conductor.Counters().ReplicasRestoring, Is.Positive);
        Assert.That(_conductor.Counters().ReplicaBlocks, Is.GreaterThan(Blocks));
    }

    private long Indexed() => _conductor.State().Nodes.Sum(node => node.IndexedBlocks);

    private bool AreKeptTwice() => PeerBlocks.Keys(0, Blocks).All(
        key => _stores.Where(store => store.Node.Store!.Contains(key)).Select(store => store.Id[0]).Distinct()
            .Count() >= 2);

    private async Task AddStoreAsync(int number)
    {
        _folders.Add(new TemporaryFolder());
        var node = await BlockNode.StartAsync(
            new BlockNodePlan { StoreFolder = _folders[^1].Path, TakesPuts = true, Peers = Patient });
        var keys = new StoredKeys(keysMax: 1000, NullLogger.Instance);
        node.Store!.Subscribe(keys);
        _owned.Add(node);
        // Two nodes on each machine, whose name their own begins with.
        var host = (char)('a' + (number / 2));
        var id = $"{host}{number}";
        var agent = await JoinAsync(id, NodeRoles.Store, new Member(keys.Feed), node, $"{host}", node.Blocks.CopyAsync);
        _stores.Add((id, node, agent));
    }

    private async Task<BlockNode> AddWorkerAsync(string id)
    {
        var node = await BlockNode.StartAsync(new BlockNodePlan { Peers = Patient });
        _owned.Add(node);
        await JoinAsync(id, NodeRoles.Prefill | NodeRoles.Decode, new Member(null), node, "", null);
        await WorkerNode.UntilAsync(
            () => node.Metric("kv_store_nodes") == StoreNodes, $"{id} has heard of the store nodes");
        return node;
    }

    private async Task<NodeAgent> JoinAsync(
        string id, NodeRoles roles, Member member, BlockNode node, string host,
        Func<ReplicaTask, CancellationToken, Task<ReplicaOutcome>>? copy)
    {
        var agent = new NodeAgent(
            _channels.Get(_address), new NodeIdentity(id, 1, roles, node.Address) { Host = host }, member,
            new NodeAgentOptions(), TimeProvider.System, NullLogger.Instance)
        {
            Copy = copy,
        };
        agent.StoreNodesChanged += node.Connector.SetStoreNodes;
        _owned.Add(agent);
        agent.Start();
        await agent.Registered.WaitAsync(BlockNode.Patience);
        await WorkerNode.UntilAsync(
            () => _conductor.State().Nodes.Any(n => n.Descriptor.NodeId == id && n.Health == NodeHealth.Ready), id);
        return agent;
    }

    private static async Task SaveAsync(BlockNode worker)
    {
        worker.Pool.Publish(0, Blocks);
        var saved = await worker.TakeAsync(worker.Connector.BeginSave(
            PeerBlocks.Keys(0, Blocks), PeerBlocks.Parents(0, Blocks), PeerBlocks.Groups(0, Blocks),
            PeerBlocks.Ids(0, Blocks), [.. Enumerable.Repeat(BlockAttributes.Default, Blocks)]));
        Assert.That(saved, Is.EqualTo(Blocks));
    }

    private async Task RouteAsync()
    {
        var tokens = (Blocks * PeerBlocks.Layout.BlockTokens) + 1;
        var lease = await new LocalRouter(_conductor).RouteAsync(
            new RouteQuery
            {
                RequestId = "r",
                PromptTokens = tokens,
                SequenceTokensMax = tokens + 1,
                BlockKeys = PeerBlocks.Keys(0, Blocks),
            },
            CancellationToken.None);
        await lease.DisposeAsync();
    }

    private sealed class Member(KvEventFeed? feed) : INode
    {
        public ModelCard Model { get; } = new("test", 65_536, 1000, new string('a', 64), PeerBlocks.Layout, 0);

        public int BlocksTotal => BlockNode.PoolBlocks;

        public int SequencesMax => 8;

        public KvEventFeed? KvEvents => feed;

        public NodeLoad Load() => new() { Ready = true, BlocksFree = BlockNode.PoolBlocks };

        public void BeginDrain()
        {
        }
    }
}
