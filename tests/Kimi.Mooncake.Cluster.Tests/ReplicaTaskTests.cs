using System.Collections.Concurrent;
using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;

namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>Orders to copy blocks, over real connections.</summary>
[TestFixture]
internal sealed class ReplicaTaskTests
{
    private const int Blocks = 20;

    private readonly ConcurrentQueue<(string Node, ReplicaTask Task)> _tasks = new();
    private SimulatedCluster _cluster = null!;

    [SetUp]
    public async Task StartAsync() => _cluster = await SimulatedCluster.StartAsync();

    [TearDown]
    public async Task StopAsync() => await _cluster.DisposeAsync();

    [Test]
    public async Task Context_OnOneStoreNode_IsCopiedToASecondAndReported()
    {
        await StartStoreNodesAsync();

        await RouteContextAsync();

        await Eventually.BecomesAsync(
            () => _cluster.Conductor.Counters() is { ReplicaBlocks: >= Blocks }
                && _cluster.Conductor.Replicas().Orders == 0,
            "every block is copied");
        Assert.That(_tasks.Select(done => done.Task.TargetAddress), Has.All.StartsWith("http://127.0.0.1:"));
        Assert.That(_tasks.Sum(done => done.Task.Keys.Length), Is.EqualTo(_cluster.Conductor.Counters().ReplicaBlocks));
        Assert.That(_cluster.Conductor.Counters().ReplicaOrdersFailed, Is.Zero);
    }

    [Test]
    public async Task Context_StoreNodesThatCopyNothing_CountsFailures()
    {
        await StartStoreNodesAsync(copies: false);

        await RouteContextAsync();

        await Eventually.BecomesAsync(
            () => _cluster.Conductor.Counters().ReplicaOrdersFailed > 0, "an order that failed");
        Assert.That(_cluster.Conductor.Counters().ReplicaBlocks, Is.Zero);
    }

    [Test]
    public async Task Copy_ThrowsAnything_IsReportedAsFailed()
    {
        await StartStoreNodesAsync(
            copy: static (_, _) => throw new KeyNotFoundException("what nobody thought of"));

        await RouteContextAsync();

        await Eventually.BecomesAsync(
            () => _cluster.Conductor.Counters().ReplicaOrdersFailed > 0, "an order that failed");
    }

    /// <summary>Two store nodes, of which the first has all the keys, and a worker.</summary>
    private async Task StartStoreNodesAsync(
        bool copies = true, Func<ReplicaTask, CancellationToken, Task<ReplicaOutcome>>? copy = null)
    {
        await _cluster.AddAsync("w", NodeRoles.Prefill | NodeRoles.Decode);
        var feeds = new[] { new KvEventFeed(), new KvEventFeed() };
        feeds[0].Publish([.. Enumerable.Range(1, Blocks).Select(n => new KvEvent(TestKeys.Of(n), false))]);
        for (var node = 0; node < feeds.Length; node++)
        {
            var (name, other) = ($"s{node}", feeds[1 - node]);
            var agent = _cluster.AgentOf(
                name, NodeRoles.Store, new SimulatedNode { SequencesMax = 0, KvEvents = feeds[node] },
                new Uri($"http://127.0.0.1:{node + 1}/"));
            agent.Copy = copy ?? (copies ? (task, _) => Copy(name, task, other) : null);
            agent.Start();
            await Eventually.BecomesAsync(() => _cluster.HealthOf(name) == NodeHealth.Ready, $"{name} is ready");
        }

        await Eventually.BecomesAsync(() => _cluster.StateOf("s0")!.IndexedBlocks == Blocks, "the keys are known");
    }

    private Task<ReplicaOutcome> Copy(string node, ReplicaTask task, KvEventFeed target)
    {
        _tasks.Enqueue((node, task));
        target.Publish([.. task.Keys.Select(key => new KvEvent(key, false))]);
        return Task.FromResult(new ReplicaOutcome(task.Keys.Length, IsDone: true));
    }

    private async Task RouteContextAsync()
    {
        var lease = await new LocalRouter(_cluster.Conductor).RouteAsync(
            new RouteQuery
            {
                RequestId = "r",
                PromptTokens = (Blocks * SimulatedNode.BlockTokens) + 1,
                SequenceTokensMax = (Blocks * SimulatedNode.BlockTokens) + 2,
                BlockKeys = Enumerable.Range(1, Blocks).Select(TestKeys.Of).ToArray(),
                ContextBlocks = Blocks,
            },
            CancellationToken.None);
        await lease.DisposeAsync();
    }
}
