using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Grpc.Core;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Placement;
using Kimi.Mooncake.Protocol;
using Kimi.Mooncake.Tests;
using Kimi.Mooncake.Transfer;
using Kimi.Mooncake.Worker.Peers;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Worker.Tests.Peers;

[TestFixture(true)]
[TestFixture(false)]
public sealed class StoreNodeTests(bool sharedMemory)
{
    // A busy machine must not look like a slow peer.
    private static readonly PeerBlocksOptions Patient =
        new() { MatchTimeoutMs = 20_000, PullTimeoutMs = 60_000, PutTimeoutMs = 60_000, BreakerPauseMs = 1 };

    private static readonly BlockRetention Hour = new(LifetimeSeconds: 3600);
    private static readonly BlockAttributes OfAMinute =
        new("", new BlockRetention(LifetimeSeconds: 60), BlockClass.Prompt);

    private TemporaryFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public async Task Save_ThenLoadOnAnotherWorker_IsBitEqual()
    {
        await using var store = await BlockNode.StartAsync(Store());
        await using var writer = await WorkerOf(store);
        await using var reader = await WorkerOf(store);

        Assert.That(await SaveAsync(writer, 0, 60), Is.EqualTo(60));
        await reader.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(60)));

        Assert.That(reader.Connector.CountStored(PeerBlocks.Keys(0, 60)), Is.EqualTo(60));
        Assert.That(
            await reader.TakeAsync(reader.Connector.BeginLoad(PeerBlocks.Keys(0, 60), PeerBlocks.Ids(0, 60))),
            Is.EqualTo(60));
        for (var i = 0; i < 60; i++)
        {
            reader.RequireBlock(i, i);
        }

        Assert.That(writer.Traffic.PutBlocks, Is.EqualTo(60));
        Assert.That(reader.Metric("kv_blocks_loaded_store_node_total"), Is.EqualTo(60));
        Assert.That(store.Transfer.Statistics().Reservations, Is.Zero);
    }

    [Test]
    public async Task Save_WhatIsThereAlready_SendsNothing()
    {
        await using var store = await BlockNode.StartAsync(Store());
        await using var one = await WorkerOf(store);
        await using var other = await WorkerOf(store);
        await SaveAsync(one, 0, 8);

        Assert.That(await SaveAsync(other, 0, 8), Is.EqualTo(8));

        Assert.That(other.Traffic.PutBlocks, Is.Zero);
    }

    [Test]
    public async Task Save_ToSeveralStoreNodes_SpreadsTheBlocksAndLoadJoinsThem()
    {
        using var secondFolder = new TemporaryFolder();
        await using var first = await BlockNode.StartAsync(Store());
        await using var second = await BlockNode.StartAsync(Store(secondFolder.Path));
        await using var writer = await WorkerOf(first, second);
        await using var reader = await WorkerOf(first, second);
        await SaveAsync(writer, 0, 40);

        await reader.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(40)));

        // Ports differ from run to run, and with them which groups lie where.
        var placement = new ReplicaPlacement([new(first.Address, ""), new(second.Address, "")]);
        var chosen = new int[1];
        var onFirst = PeerBlocks.Groups(0, 40).Count(group =>
            placement.Choose(group, chosen) == 1 && placement.Nodes[chosen[0]].Address == first.Address);
        Assert.That(first.Store!.Statistics().Blocks, Is.EqualTo(onFirst));
        Assert.That(second.Store!.Statistics().Blocks, Is.EqualTo(40 - onFirst));
        Assert.That(
            await reader.TakeAsync(reader.Connector.BeginLoad(PeerBlocks.Keys(0, 40), PeerBlocks.Ids(0, 40))),
            Is.EqualTo(40));
        for (var i = 0; i < 40; i++)
        {
            reader.RequireBlock(i, i);
        }
    }

    [Test]
    public async Task Restart_SameFolderAndAddress_KeepsItsBlocks()
    {
        var store = await BlockNode.StartAsync(Store());
        var address = store.Address;
        await using var worker = await WorkerOf(store);
        await SaveAsync(worker, 0, 10);
        await store.DisposeAsync();
        Assert.That(await TryLoadAsync(worker, 10), Is.Zero, "the store node is gone");

        await using var again = await BlockNode.StartAsync(Store() with { Port = new Uri(address).Port });

        Assert.That(again.Address, Is.EqualTo(address));
        // The connection is opened again at most a second after the node is back.
        using var limit = new CancellationTokenSource(BlockNode.Patience);
        var loaded = 0;
        while (loaded == 0)
        {
            limit.Token.ThrowIfCancellationRequested();
            loaded = await TryLoadAsync(worker, 10);
        }

        Assert.That(loaded, Is.EqualTo(10));
        worker.RequireBlock(9, 9);
    }

    [Test]
    public async Task Kill_WithoutWarning_KeepsWhatWasFlushed()
    {
        using var copy = new TemporaryFolder();
        await using var store = await BlockNode.StartAsync(Store());
        await using var worker = await WorkerOf(store);
        await SaveAsync(worker, 0, 10);
        Assert.That(await store.Store!.FlushAsync());
        // What a killed process leaves behind is what lies in its folder while it runs.
        foreach (var file in Directory.GetFiles(_folder.Path, "blocks.*"))
        {
            File.Copy(file, Path.Combine(copy.Path, Path.GetFileName(file)));
        }

        await using var again = await BlockNode.StartAsync(Store(copy.Path));
        worker.Connector.SetStoreNodes([new StoreNodeAddress(again.Address, "")]);

        Assert.That(await TryLoadAsync(worker, 10), Is.EqualTo(10));
        worker.RequireBlock(9, 9);
    }

    [Test]
    public async Task Hang_AcceptsAndNeverAnswers_DelaysRequestsByTheNamedTimeAndThenNotAtAll()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        await using var worker = await BlockNode.StartAsync(new BlockNodePlan
        {
            SharedMemory = sharedMemory,
            StoreFolder = _folder.Path,
            Peers = new PeerBlocksOptions { MatchTimeoutMs = 100, PutTimeoutMs = 100, BreakerPauseMs = 600_000 },
        });
        worker.Connector.SetStoreNodes([new StoreNodeAddress($"http://{listener.LocalEndpoint}", "")]);

        var started = Stopwatch.GetTimestamp();
        await worker.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(4)));
        var first = Stopwatch.GetElapsedTime(started);
        await worker.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(4)));
        var saved = await SaveAsync(worker, 0, 4);
        started = Stopwatch.GetTimestamp();
        for (var i = 0; i < 100; i++)
        {
            await worker.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(4)));
        }

        // A deadline's timer ticks coarsely and may fire some milliseconds before the clock says so.
        Assert.That(first, Is.GreaterThanOrEqualTo(TimeSpan.FromMilliseconds(50)));
        Assert.That(first, Is.LessThan(TimeSpan.FromSeconds(5)), "the machine may be busy");
        Assert.That(saved, Is.EqualTo(4), "the store here has them");
        Assert.That(Stopwatch.GetElapsedTime(started), Is.LessThan(TimeSpan.FromSeconds(5)), "100 times left alone");
        Assert.That(worker.Traffic.Failures(PeerFailure.TimedOut), Is.EqualTo(2));
        Assert.That(worker.Metric("kv_put_skipped_blocks_total"), Is.EqualTo(4));
    }

    [Test]
    public async Task Save_StoreNodeGoneAndNoStoreHere_ReportsNothingSaved()
    {
        await using var store = await BlockNode.StartAsync(Store());
        await using var worker = await WorkerOf(store);
        await store.KillServerAsync();

        Assert.That(await SaveAsync(worker, 0, 4), Is.Zero);
        Assert.That(worker.Traffic.Failures(PeerFailure.Unreachable), Is.EqualTo(1));
    }

    [Test]
    public async Task Prepare_SlowStoreNode_IsNotUsedWhereComputingIsFaster()
    {
        await using var store = await BlockNode.StartAsync(Store());
        var seconds = 0.0;
        await using var worker = await BlockNode.StartAsync(
            new BlockNodePlan { SharedMemory = sharedMemory, Peers = Patient, PrefillSeconds = (_, _) => seconds });
        worker.Connector.SetStoreNodes([new StoreNodeAddress(store.Address, "")]);
        await SaveAsync(worker, 0, 20);
        Assert.That(await TryLoadAsync(worker, 10), Is.EqualTo(10), "measures the rate");

        seconds = 1e-9;
        await worker.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(20)));
        Assert.That(worker.Connector.CountStored(PeerBlocks.Keys(10, 10)), Is.Zero);

        seconds = 1e9;
        await worker.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(20)));
        Assert.That(worker.Connector.CountStored(PeerBlocks.Keys(10, 10)), Is.EqualTo(10));
    }

    [Test]
    public async Task Put_NotFinishedInTime_IsGivenUpAndTheBlocksAreWantedAgain()
    {
        var clock = new TestClock();
        await using var store = await BlockNode.StartAsync(Store() with { Time = clock });
        await using var other = await BlockNode.StartAsync(new BlockNodePlan { SharedMemory = sharedMemory });
        var begun = await BeginAsync(other, store, 0, 3);
        Assert.That(begun.Wanted, Is.EqualTo(new uint[] { 0, 1, 2 }));
        var next = await BeginAsync(other, store, 0, 4);
        Assert.That((next.Wanted, next.Left), Is.EqualTo((new uint[] { 3 }, 3)), "0 to 2 come");

        clock.Advance(TimeSpan.FromMilliseconds(new BlockServingOptions().PutExpiresMs));

        Assert.That(store.Traffic.PutsExpired, Is.EqualTo(2));
        Assert.That(store.Transfer.Statistics().Reservations, Is.Zero);
        Assert.That(await CommitAsync(other, store, begun), Is.EqualTo(StatusCode.FailedPrecondition));
        Assert.That((await BeginAsync(other, store, 0, 4)).Wanted, Has.Count.EqualTo(4));
    }

    [Test]
    public async Task Commit_BytesAreMissing_StoresNothing()
    {
        await using var store = await BlockNode.StartAsync(Store());
        await using var other = await BlockNode.StartAsync(new BlockNodePlan { SharedMemory = sharedMemory });
        var begun = await BeginAsync(other, store, 0, 3);

        Assert.That(await CommitAsync(other, store, begun), Is.EqualTo(StatusCode.FailedPrecondition));

        Assert.That(store.Store!.Statistics().Blocks, Is.Zero);
        Assert.That((await BeginAsync(other, store, 0, 3)).Wanted, Has.Count.EqualTo(3));
    }

    [Test]
    public async Task BeginPut_LittleMemory_TakesWhatFitsAndThenRefuses()
    {
        await using var store = await BlockNode.StartAsync(Store() with
        {
            Serving = new BlockServingOptions { PutStagingBytes = 4 * PeerBlocks.Layout.BytesPerBlock },
        });
        await using var other = await BlockNode.StartAsync(new BlockNodePlan { SharedMemory = sharedMemory });

        var begun = await BeginAsync(other, store, 0, 9);
        Assert.That(begun.Wanted, Is.EqualTo(new uint[] { 0, 1, 2, 3 }));
        Assert.That(begun.Left, Is.EqualTo(5));
        var fault = await Assert.ThrowsAsync<RpcException>(() => BeginAsync(other, store, 20, 1));
        Assert.That(fault!.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
    }

    [Test]
    public async Task Save_MoreThanTheStoreNodeHasRoomForAtOnce_ComesInParts()
    {
        await using var store = await BlockNode.StartAsync(Store() with
        {
            Serving = new BlockServingOptions { PutStagingBytes = 4 * PeerBlocks.Layout.BytesPerBlock },
        });
        await using var worker = await WorkerOf(store);

        Assert.That(await SaveAsync(worker, 0, 9), Is.EqualTo(9));

        Assert.That(store.Store!.CountStored(PeerBlocks.Keys(0, 9)), Is.EqualTo(9));
        Assert.That(worker.Traffic.PutBlocks, Is.EqualTo(9));
        Assert.That(worker.Traffic.Failures(PeerFailure.Refused), Is.Zero);
    }

    [Test]
    public async Task Save_BlocksThatAnotherSends_IsNotSavedUntilTheyAreStored()
    {
        await using var store = await BlockNode.StartAsync(Store());
        await using var one = await WorkerOf(store);
        await using var other = await WorkerOf(store);
        var begun = await BeginAsync(one, store, 2, 2);

        Assert.That(await SaveAsync(other, 0, 6), Is.Zero, "2 and 3 may never come");
        Assert.That(store.Store!.Statistics().Blocks, Is.EqualTo(4), "the others are stored");

        one.Pool.Publish(2, 2);
        await SendAsync(one, store, begun, 2, 2);
        Assert.That(await CommitAsync(one, store, begun), Is.EqualTo(StatusCode.OK));
        Assert.That(await SaveAsync(other, 0, 6), Is.EqualTo(6));
        Assert.That(other.Traffic.PutBlocks, Is.EqualTo(4));
    }

    [Test]
    public async Task BeginPut_OtherModelOrBlocks_IsRefusedWithBoth()
    {
        await using var store = await BlockNode.StartAsync(Store());
        var call = store.Call(store.Address);

        var fault = await Assert.ThrowsAsync<RpcException>(async () => await call.BeginPutAsync(
            new Wire.BeginPutRequest { BlockBytes = 5, ModelFingerprint = "other" }));

        Assert.That(fault!.StatusCode, Is.EqualTo(StatusCode.FailedPrecondition));
        Assert.That(fault.Status.Detail, Does.Contain("other").And.Contain("2048").And.Contain("test-model"));
    }

    [Test]
    public async Task BeginPut_NoStoreNode_IsUnimplemented()
    {
        await using var worker = await BlockNode.StartAsync(new BlockNodePlan { SharedMemory = sharedMemory });
        var call = worker.Call(worker.Address);

        var fault = await Assert.ThrowsAsync<RpcException>(
            async () => await call.BeginPutAsync(new Wire.BeginPutRequest()));

        Assert.That(fault!.StatusCode, Is.EqualTo(StatusCode.Unimplemented));
    }

    [Test]
    public async Task Save_AttributesOfEachBlock_ReachTheStoreNode()
    {
        var clock = new TestClock();
        await using var store = await BlockNode.StartAsync(Store() with { StoreTime = clock });
        await using var worker = await WorkerOf(store);
        var minute = new BlockRetention(LifetimeSeconds: 60);

        var saved = await SaveAsync(worker, 0, 6, number => new BlockAttributes(
            number < 4 ? "acme" : "other", number < 2 ? default : minute, BlockClass.Context));

        Assert.That(saved, Is.EqualTo(6));
        Assert.That(
            store.Store!.Tenants().Select(tenant => (tenant.Name, tenant.Blocks)),
            Is.EquivalentTo(new[] { ("acme", 4L), ("other", 2L) }));
        clock.Advance(TimeSpan.FromSeconds(61));
        Assert.That(store.Store.CountStored(PeerBlocks.Keys(0, 6)), Is.EqualTo(2));
    }

    [Test]
    public async Task Retain_BlocksOfAStoreNode_AreKeptLonger()
    {
        var clock = new TestClock();
        await using var store = await BlockNode.StartAsync(Store() with { StoreTime = clock });
        await using var worker = await WorkerOf(store);
        await SaveAsync(worker, 0, 6, static _ => OfAMinute);

        worker.Connector.Retain(PeerBlocks.Keys(0, 8), PeerBlocks.Groups(0, 8), Hour, BlockClass.Context);

        await WorkerNode.UntilAsync(() => worker.Metric("kv_retained_blocks_total") == 6, "the call has ended");
        clock.Advance(TimeSpan.FromSeconds(61));
        Assert.That(store.Store!.CountStored(PeerBlocks.Keys(0, 6)), Is.EqualTo(6));
    }

    [Test]
    public async Task Retain_StoreNodeGone_IsCountedAndNobodyWaits()
    {
        await using var store = await BlockNode.StartAsync(Store());
        await using var worker = await WorkerOf(store);
        await store.KillServerAsync();

        worker.Connector.Retain(PeerBlocks.Keys(0, 3), PeerBlocks.Groups(0, 3), Hour, BlockClass.Context);

        await WorkerNode.UntilAsync(() => worker.Metric("kv_retain_skipped_blocks_total") == 3, "the call has failed");
    }

    [Test]
    public async Task BeginPut_BlocksStoredOrArriving_AreKeptAsLongAsTheLastWants()
    {
        // Arrange
        var clock = new TestClock();
        await using var store = await BlockNode.StartAsync(Store() with { StoreTime = clock });
        await using var one = await WorkerOf(store);
        await using var other = await BlockNode.StartAsync(new BlockNodePlan { SharedMemory = sharedMemory });
        await SaveAsync(one, 0, 2, static _ => OfAMinute);
        var begun = await BeginAsync(one, store, 2, 2, OfAMinute.Retention);
        Assert.That(begun.Wanted, Has.Count.EqualTo(2));

        // Act
        var again = await BeginAsync(other, store, 0, 4, Hour);
        one.Pool.Publish(2, 2);
        await SendAsync(one, store, begun, 2, 2);

        // Assert
        Assert.That(again.Wanted, Is.Empty, "two are stored and two arrive");
        Assert.That(await CommitAsync(one, store, begun), Is.EqualTo(StatusCode.OK));
        clock.Advance(TimeSpan.FromSeconds(61));
        Assert.That(store.Store!.CountStored(PeerBlocks.Keys(0, 4)), Is.EqualTo(4));
    }

    [Test]
    public async Task Retain_BlocksThatArrive_AreKeptLonger()
    {
        var clock = new TestClock();
        await using var store = await BlockNode.StartAsync(Store() with { StoreTime = clock });
        await using var worker = await WorkerOf(store);
        var begun = await BeginAsync(worker, store, 0, 2, OfAMinute.Retention);
        worker.Pool.Publish(0, 2);
        await SendAsync(worker, store, begun, 0, 2);

        var keys = BlockKeyMessages.ToBytes(PeerBlocks.Keys(0, 2));
        await worker.Call(store.Address).RetainAsync(
            new Wire.RetainRequest { Keys = keys, Retention = RetentionMessages.ToMessage(Hour) });

        Assert.That(await CommitAsync(worker, store, begun), Is.EqualTo(StatusCode.OK));
        clock.Advance(TimeSpan.FromSeconds(61));
        Assert.That(store.Store!.CountStored(PeerBlocks.Keys(0, 2)), Is.EqualTo(2));
    }

    [Test]
    public async Task Retain_FieldOutOfRangeOrNoStoreNode_IsRefused()
    {
        await using var store = await BlockNode.StartAsync(Store());
        await using var worker = await BlockNode.StartAsync(new BlockNodePlan { SharedMemory = sharedMemory });
        var bad = new Wire.RetainRequest { Retention = new Wire.BlockRetention { Priority = 9 } };

        var fault = await Assert.ThrowsAsync<RpcException>(
            async () => await worker.Call(store.Address).RetainAsync(bad));
        Assert.That(fault!.StatusCode, Is.EqualTo(StatusCode.InvalidArgument));
        Assert.That(fault.Status.Detail, Does.Contain("retention.priority"));

        fault = await Assert.ThrowsAsync<RpcException>(
            async () => await worker.Call(worker.Address).RetainAsync(new Wire.RetainRequest()));
        Assert.That(fault!.StatusCode, Is.EqualTo(StatusCode.Unimplemented));
    }

    private BlockNodePlan Store(string? folder = null) => new()
    {
        SharedMemory = sharedMemory,
        StoreFolder = folder ?? _folder.Path,
        TakesPuts = true,
    };

    private async Task<BlockNode> WorkerOf(params BlockNode[] stores)
    {
        var worker = await BlockNode.StartAsync(new BlockNodePlan { SharedMemory = sharedMemory, Peers = Patient });
        worker.Connector.SetStoreNodes(stores.Select(store => new StoreNodeAddress(store.Address, "")));
        return worker;
    }

    private static async Task<int> SaveAsync(
        BlockNode worker, int first, int count, Func<int, BlockAttributes>? attributes = null)
    {
        worker.Pool.Publish(first, count);
        return await worker.TakeAsync(worker.Connector.BeginSave(
            PeerBlocks.Keys(first, count),
            PeerBlocks.Parents(first, count),
            PeerBlocks.Groups(first, count),
            PeerBlocks.Ids(first, count),
            [.. Enumerable.Range(first, count).Select(attributes ?? (static _ => BlockAttributes.Default))]));
    }

    private static async Task<int> TryLoadAsync(BlockNode worker, int blocks)
    {
        await worker.PrepareAsync(BlockNode.Request(PeerBlocks.Prompt(blocks)));
        var ticket = worker.Connector.BeginLoad(PeerBlocks.Keys(0, blocks), PeerBlocks.Ids(0, blocks));
        return ticket < 0 ? 0 : await worker.TakeAsync(ticket);
    }

    private static async Task<Wire.BeginPutResponse> BeginAsync(
        BlockNode from, BlockNode store, int first, int count, BlockRetention retention = default) =>
        await from.Call(store.Address).BeginPutAsync(new Wire.BeginPutRequest
        {
            Keys = BlockKeyMessages.ToBytes(PeerBlocks.Keys(first, count)),
            ParentKeys = BlockKeyMessages.ToBytes(PeerBlocks.Parents(first, count)),
            BlockBytes = (uint)PeerBlocks.Layout.BytesPerBlock,
            ModelFingerprint = PeerBlocks.Fingerprint,
            Retention = RetentionMessages.ToMessage(retention),
        });

    private static async Task SendAsync(
        BlockNode from, BlockNode store, Wire.BeginPutResponse begun, int first, int count)
    {
        await using var session = await from.Transfer.BeginAsync(
            store.Address, new ReservationId(begun.Reservation, begun.Generation), TransferPriority.Replication, count,
            CancellationToken.None);
        for (var slot = 0; slot < count; slot++)
        {
            var block = from.Memory.Address(first + slot, 0, 0);
            Assert.That(BlockFrames.TryEnqueue(session, block, PeerBlocks.Layout.BytesPerBlock, slot));
        }

        await session.FlushAsync(CancellationToken.None);
    }

    private static async Task<StatusCode> CommitAsync(BlockNode from, BlockNode store, Wire.BeginPutResponse begun)
    {
        try
        {
            await from.Call(store.Address).CommitPutAsync(new Wire.CommitPutRequest
            {
                Reservation = begun.Reservation,
                Generation = begun.Generation,
            });
            return StatusCode.OK;
        }
        catch (RpcException fault)
        {
            return fault.StatusCode;
        }
    }
}
