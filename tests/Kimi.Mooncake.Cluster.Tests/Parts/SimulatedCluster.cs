using Grpc.Core;
using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>
/// A conductor and simulated workers, each behind a gRPC server of its own on loopback, and a generator over them.
/// </summary>
internal sealed class SimulatedCluster : IAsyncDisposable
{
    private readonly PeerChannels _channels = new(new PeerOptions(), NullLoggerFactory.Instance);
    private readonly ConductorOptions _options;
    private readonly Dictionary<string, Member> _members = [];
    private readonly List<IAsyncDisposable> _owned = [];
    private readonly TimeProvider _conductorTime;
    private LoopbackServer _conductorServer = null!;
    private ulong _epoch;

    private SimulatedCluster(ConductorOptions options, TimeProvider conductorTime)
    {
        _options = options;
        _conductorTime = conductorTime;
    }

    public ConductorLoop Conductor { get; private set; } = null!;

    public Uri ConductorAddress { get; private set; } = null!;

    public static ConductorOptions Options { get; } = new()
    {
        LoadIntervalMs = 20,
        SuspectAfterMs = 5000,
        ExpireAfterMs = 20_000,
        NoWorkerGraceMs = 2000,
        LocalPrefillSecondsMax = 0,
    };

    public static async Task<SimulatedCluster> StartAsync(
        ConductorOptions? options = null, TimeProvider? conductorTime = null)
    {
        var cluster = new SimulatedCluster(options ?? Options, conductorTime ?? TimeProvider.System);
        await cluster.StartConductorAsync(port: 0);
        return cluster;
    }

    /// <summary>The conductor's process ends and another one starts, which knows nothing.</summary>
    public async Task RestartConductorAsync()
    {
        await StopConductorAsync();
        await StartConductorAsync(ConductorAddress.Port);
    }

    public async Task StopConductorAsync()
    {
        await _conductorServer.DisposeAsync();
        await Conductor.DisposeAsync();
    }

    public async Task StartConductorAsync(int port)
    {
        Conductor = new ConductorLoop(_options, _conductorTime, NullLogger.Instance);
        _conductorServer = await LoopbackServer.StartAsync(
            new ConductorService(Conductor, TimeProvider.System), port);
        ConductorAddress = _conductorServer.Address;
    }

    /// <summary>Starts a worker and waits until it can be given work.</summary>
    public async Task<SimulatedWorker> AddAsync(string nodeId, NodeRoles roles, SimulatedWorker? worker = null)
    {
        worker ??= new SimulatedWorker();
        var server = await LoopbackServer.StartAsync(worker);
        var node = new SimulatedNode();
        var agent = AgentOf(nodeId, roles, node, server.Address);
        agent.Start();
        _members[nodeId] = new Member(worker, node, agent, server);
        await Eventually.BecomesAsync(() => HealthOf(nodeId) == NodeHealth.Ready, $"{nodeId} is ready");
        return worker;
    }

    public NodeAgent AgentOf(string nodeId, NodeRoles roles, INode node, Uri address)
    {
        var agent = new NodeAgent(
            Invoker(ConductorAddress), new NodeIdentity(nodeId, ++_epoch, roles, address.AbsoluteUri), node,
            new NodeAgentOptions { RefusedRetryMs = 50 }, TimeProvider.System, NullLogger.Instance);
        _owned.Add(agent);
        return agent;
    }

    public SimulatedNode NodeOf(string nodeId) => _members[nodeId].Node;

    public NodeHealth? HealthOf(string nodeId) => StateOf(nodeId)?.Health;

    public NodeState? StateOf(string nodeId) =>
        Conductor.State().Nodes.SingleOrDefault(node => node.Descriptor.NodeId == nodeId);

    /// <summary>The worker's process ends: calls break, and nobody listens any more.</summary>
    public async Task KillAsync(string nodeId)
    {
        await _members[nodeId].Server.DisposeAsync();
        await _members[nodeId].Agent.DisposeAsync();
        _members.Remove(nodeId);
    }

    public ClusterTokenGenerator Generator(
        RetryOptions? retry = null, IRouter? router = null, RemoteWorkerOptions? options = null)
    {
        var generator = new ClusterTokenGenerator(
            SimulatedNode.ModelOf('a'), router ?? new LocalRouter(Conductor), Workers(),
            options ?? new RemoteWorkerOptions { StatusIntervalMs = 20 }, retry ?? new RetryOptions(),
            TimeProvider.System, NullLogger.Instance);
        _owned.Add(generator);
        return generator;
    }

    public RemoteRouter Remote()
    {
        var router = new RemoteRouter(
            Invoker(ConductorAddress), ConductorAddress.AbsoluteUri, new RemoteWorkerOptions { StatusIntervalMs = 20 },
            TimeProvider.System, NullLogger.Instance);
        _owned.Add(router);
        return router;
    }

    public WorkerClient Workers() => new(_channels.Get, TimeProvider.System);

    public CallInvoker Invoker(Uri address) => _channels.Get(address.AbsoluteUri);

    /// <summary>Nothing is held for any request.</summary>
    public async Task AssertEmptyAsync()
    {
        await Eventually.BecomesAsync(
            () => Conductor.Leases == 0 && Conductor.State() is { Waiting: 0, Routed: 0 }, "the end of every lease");
        await Eventually.BecomesAsync(
            () => _members.Values.All(member => member.Worker.Active == 0), "the end of every call");
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var part in Enumerable.Reverse(_owned))
        {
            await part.DisposeAsync();
        }

        foreach (var member in _members.Values)
        {
            await member.Server.DisposeAsync();
        }

        await StopConductorAsync();
        _channels.Dispose();
    }

    private sealed record Member(SimulatedWorker Worker, SimulatedNode Node, NodeAgent Agent, LoopbackServer Server);
}
