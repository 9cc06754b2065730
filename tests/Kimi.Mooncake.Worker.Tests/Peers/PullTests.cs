using Kimi.Mooncake.Tests;
using Kimi.Mooncake.Worker.Peers;

namespace Kimi.Mooncake.Worker.Tests.Peers;

[TestFixture(true)]
[TestFixture(false)]
public sealed class PullTests(bool sharedMemory)
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public async Task Load_HintedBlocksOfAPeersPool_AreBitEqual()
    {
        await using var source = await BlockNode.StartAsync(Plan());
        await using var node = await BlockNode.StartAsync(Plan());
        source.Pool.Publish(0, 100);
        await node.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(100), source.Address, 100));

        var stored = node.Connector.CountStored(PeerBlocks.Keys(0, 100));
        var done = await node.TakeAsync(
            node.Connector.BeginLoad(PeerBlocks.Keys(0, 100), PeerBlocks.Ids(120, 100)));

        Assert.That(stored, Is.EqualTo(100));
        Assert.That(done, Is.EqualTo(100));
        for (var i = 0; i < 100; i++)
        {
            node.RequireBlock(120 + i, i);
        }

        Assert.That(source.Pool.Held, Is.Zero);
        Assert.That(node.Metric("kv_blocks_loaded_peer_total"), Is.EqualTo(100));
        Assert.That(node.Traffic.PulledBytes, Is.EqualTo(100 * PeerBlocks.Layout.BytesPerBlock));
        RequireNothingOpen(source, node);
    }

    [Test]
    public async Task Load_BlocksInAPeersStore_ComeThroughStagingOfOneBlock([Values(1, 8 << 20)] int batchBytes)
    {
        await using var source = await BlockNode.StartAsync(Plan(
            _folder.Path,
            new BlockServingOptions { PullStagingBytes = 1, PullBatchBytes = batchBytes }));
        await using var node = await BlockNode.StartAsync(Plan());
        Fill(source, 0, 40);

        var done = await LoadAsync(node, source, first: 0, count: 40);

        Assert.That(done, Is.EqualTo(40));
        for (var i = 0; i < 40; i++)
        {
            node.RequireBlock(i, i);
        }

        RequireNothingOpen(source, node);
    }

    [Test]
    public async Task Load_PoolAndStoreByTurns_SendsAll()
    {
        await using var source = await BlockNode.StartAsync(Plan(_folder.Path));
        await using var node = await BlockNode.StartAsync(Plan());
        source.Pool.Publish(0, 5);
        Fill(source, 5, 7);
        source.Pool.Publish(12, 3);
        Fill(source, 15, 5);

        Assert.That(await LoadAsync(node, source, first: 0, count: 20), Is.EqualTo(20));
        for (var i = 0; i < 20; i++)
        {
            node.RequireBlock(i, i);
        }

        RequireNothingOpen(source, node);
    }

    [Test]
    public async Task Load_PeerHasOnlyAPrefix_ReportsThatAndForgetsTheOtherHints()
    {
        await using var source = await BlockNode.StartAsync(Plan());
        await using var node = await BlockNode.StartAsync(Plan());
        source.Pool.Publish(0, 12);
        source.Pool.Publish(13, 7);

        Assert.That(await LoadAsync(node, source, first: 0, count: 20), Is.EqualTo(12));

        Assert.That(node.Connector.CountStored(PeerBlocks.Keys(0, 20)), Is.EqualTo(12));
        Assert.That(node.Traffic.Failures(PeerFailure.Missing), Is.EqualTo(1));
        RequireNothingOpen(source, node);
    }

    [Test]
    public async Task Load_SeveralPieces_KeepsThoseThatCameBeforeThePeerDied()
    {
        await using var source = await BlockNode.StartAsync(Plan());
        await using var node = await BlockNode.StartAsync(Plan(
            peers: new PeerBlocksOptions { PullBytesMax = 10 * PeerBlocks.Layout.BytesPerBlock }));
        source.Pool.Publish(0, 40);
        var holds = 0;
        source.Pool.BeforeHold = async () =>
        {
            if (++holds == 3)
            {
                await source.KillServerAsync();
            }
        };

        Assert.That(await LoadAsync(node, source, first: 0, count: 40), Is.EqualTo(20));

        node.RequireBlock(19, 19);
        Assert.That(node.Traffic.Failures(PeerFailure.Unreachable), Is.EqualTo(1));
        Assert.That(source.Pool.Held, Is.Zero);
    }

    [Test]
    public async Task Load_PeerHangs_EndsAfterTheNamedTimeAndLateFramesDoNotWrite()
    {
        await using var source = await BlockNode.StartAsync(Plan());
        await using var node = await BlockNode.StartAsync(Plan(
            peers: new PeerBlocksOptions { PullTimeoutMs = 100 }));
        source.Pool.Publish(0, 4);
        var go = new TaskCompletionSource();
        source.Pool.BeforeHold = () => go.Task;

        Assert.That(await LoadAsync(node, source, first: 0, count: 4), Is.Zero);
        go.SetResult();

        await WaitUntilAsync(() => source.Pool.Held == 0 && source.Transfer.Statistics().Sessions == 0);
        Assert.That(node.Memory.Block(0).IndexOfAnyExcept((byte)0), Is.EqualTo(-1), "a late frame was written");
        Assert.That(node.Traffic.Failures(PeerFailure.TimedOut), Is.EqualTo(1));
    }

    [Test]
    public async Task Load_PeerFailsSeveralTimes_IsNotAskedForAWhile()
    {
        var clock = new TestClock();
        await using var source = await BlockNode.StartAsync(Plan());
        await using var node = await BlockNode.StartAsync(Plan() with { Time = clock });
        source.Pool.Publish(0, 4);
        var address = source.Address;
        await source.KillServerAsync();
        for (var i = 0; i < node.Options.BreakerFailuresMax; i++)
        {
            await node.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(4), address, 4));
            Assert.That(node.Connector.CountStored(PeerBlocks.Keys(0, 4)), Is.EqualTo(4));
            Assert.That(
                await node.TakeAsync(node.Connector.BeginLoad(PeerBlocks.Keys(0, 4), PeerBlocks.Ids(0, 4))), Is.Zero);
        }

        await node.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(4), address, 4));

        Assert.That(node.Connector.CountStored(PeerBlocks.Keys(0, 4)), Is.Zero, "left alone");
        Assert.That(node.Metric("kv_peers_left_alone"), Is.EqualTo(1));
        clock.Advance(TimeSpan.FromMilliseconds(node.Options.BreakerPauseMs));
        Assert.That(node.Connector.CountStored(PeerBlocks.Keys(0, 4)), Is.EqualTo(4), "tried again");
    }

    [Test]
    public async Task Load_SomeBlocksHereSomeThere_JoinsThem()
    {
        await using var source = await BlockNode.StartAsync(Plan());
        await using var node = await BlockNode.StartAsync(Plan(_folder.Path));
        source.Pool.Publish(0, 30);
        Fill(node, 0, 10);
        Fill(node, 15, 5);

        Assert.That(await LoadAsync(node, source, first: 0, count: 30), Is.EqualTo(30));
        for (var i = 0; i < 30; i++)
        {
            node.RequireBlock(i, i);
        }

        Assert.That(node.Traffic.PulledBlocks, Is.EqualTo(15));
        Assert.That(node.Metric("kv_blocks_loaded_local_store_total"), Is.EqualTo(15));
    }

    [Test]
    public async Task Load_NothingKnown_IsTurnedDown()
    {
        await using var node = await BlockNode.StartAsync(Plan());

        Assert.That(node.Connector.CountStored(PeerBlocks.Keys(0, 4)), Is.Zero);
        Assert.That(node.Connector.BeginLoad(PeerBlocks.Keys(0, 4), PeerBlocks.Ids(0, 4)), Is.EqualTo(-1));
    }

    [Test]
    public async Task Load_AsManyRunAsMay_IsTurnedDown()
    {
        await using var source = await BlockNode.StartAsync(Plan());
        await using var node = await BlockNode.StartAsync(Plan(peers: new PeerBlocksOptions { LoadsMax = 1 }));
        source.Pool.Publish(0, 4);
        var go = new TaskCompletionSource();
        source.Pool.BeforeHold = () => go.Task;
        await node.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(4), source.Address, 4));
        var first = node.Connector.BeginLoad(PeerBlocks.Keys(0, 2), PeerBlocks.Ids(0, 2));

        Assert.That(node.Connector.BeginLoad(PeerBlocks.Keys(2, 2), PeerBlocks.Ids(2, 2)), Is.EqualTo(-1));

        go.SetResult();
        Assert.That(await node.TakeAsync(first), Is.EqualTo(2));
    }

    [Test]
    public async Task Pull_MoreThanAreServedAtOnce_IsRefusedAtOnceAndTheOtherSideComputes()
    {
        await using var source = await BlockNode.StartAsync(Plan(serving: new BlockServingOptions { PullsMax = 1 }));
        await using var node = await BlockNode.StartAsync(Plan());
        await using var other = await BlockNode.StartAsync(Plan());
        source.Pool.Publish(0, 4);
        var go = new TaskCompletionSource();
        var entered = new TaskCompletionSource();
        source.Pool.BeforeHold = () =>
        {
            entered.TrySetResult();
            return go.Task;
        };
        var first = LoadAsync(node, source, first: 0, count: 4);
        await entered.Task.WaitAsync(BlockNode.Patience);

        Assert.That(await LoadAsync(other, source, first: 0, count: 4), Is.Zero);

        Assert.That(other.Traffic.Failures(PeerFailure.Refused), Is.EqualTo(1));
        go.SetResult();
        Assert.That(await first, Is.EqualTo(4));
    }

    [Test]
    public async Task Dispose_DuringALoad_EndsItAndReportsIt()
    {
        await using var source = await BlockNode.StartAsync(Plan());
        var node = await BlockNode.StartAsync(Plan());
        await using (node)
        {
            source.Pool.Publish(0, 4);
            var never = new TaskCompletionSource();
            source.Pool.BeforeHold = () => never.Task;
            await node.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(4), source.Address, 4));
            var ticket = node.Connector.BeginLoad(PeerBlocks.Keys(0, 4), PeerBlocks.Ids(0, 4));

            await node.Connector.DisposeAsync().AsTask().WaitAsync(BlockNode.Patience);

            Assert.That(await node.TakeAsync(ticket), Is.Zero);
            Assert.That(node.Transfer.Statistics().Reservations, Is.Zero);
            never.SetResult();
        }
    }

    private BlockNodePlan Plan(
        string? folder = null, BlockServingOptions? serving = null, PeerBlocksOptions? peers = null) => new()
        {
            SharedMemory = sharedMemory,
            StoreFolder = folder,
            Serving = serving ?? new BlockServingOptions(),
            // A busy machine must not look like a slow peer.
            Peers = peers ?? new PeerBlocksOptions { PullTimeoutMs = 60_000 },
        };

    private static void Fill(BlockNode node, int first, int count)
    {
        for (var number = first; number < first + count; number++)
        {
            node.Store!.Put(PeerBlocks.Key(number), default, PeerBlocks.Bytes(number));
        }
    }

    private static async Task<int> LoadAsync(BlockNode node, BlockNode source, int first, int count)
    {
        await node.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(first + count), source.Address, first + count));
        return await node.TakeAsync(
            node.Connector.BeginLoad(PeerBlocks.Keys(first, count), PeerBlocks.Ids(first, count)));
    }

    private static void RequireNothingOpen(BlockNode source, BlockNode node)
    {
        Assert.That(source.Pool.Held, Is.Zero);
        Assert.That(source.Transfer.Statistics().Sessions, Is.Zero);
        Assert.That(node.Transfer.Statistics().Reservations, Is.Zero);
    }

    private static async Task WaitUntilAsync(Func<bool> wanted)
    {
        using var limit = new CancellationTokenSource(BlockNode.Patience);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(2));
        while (!wanted())
        {
            await timer.WaitForNextTickAsync(limit.Token);
        }
    }
}
