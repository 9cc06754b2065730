using System.Diagnostics;
using System.Runtime.InteropServices;
using Grpc.Core;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Transfer;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Worker.Tests;

/// <summary>Whatever goes wrong between workers: a clean refusal or the right text, and nothing is held.</summary>
[TestFixture]
internal sealed class HandOverFaultTests
{
    private const int BlockTokens = KvLayout.BlockTokensDefault;

    private static int[] Prompt(int length, int seed) =>
        WorkerSession.TokensOf(WorkerSession.Document(length, seed, ""));

    [Test]
    public async Task Generate_WhenThePrefillWorkerDiesOnTheWay_IsRefusedAndSucceedsElsewhere()
    {
        await using var single = await WorkerNode.StartAsync();
        await using var dying = await WorkerNode.StartAsync(new NodePlan { ChunkTokens = 16 });
        await using var other = await WorkerNode.StartAsync();
        await using var decode = await WorkerNode.StartAsync();
        var prompt = Prompt(4000, 1);
        var asking = Task.Run(() => decode.AskAsync(WorkerNode.Request(prompt, dying.Address)));
        await WorkerNode.UntilAsync(() => Received(decode) > 0, "frames arrive");

        await dying.KillServerAsync();

        var refusal = await Assert.ThrowsAsync<PrefillUnavailableException>(() => asking);
        Assert.That(refusal!.Address, Is.EqualTo(dying.Address));
        await dying.RequireEmptyAsync("the dead worker");
        await decode.RequireEmptyAsync("decode");
        var again = await decode.AskAsync(WorkerNode.Request(prompt, other.Address));
        Assert.That(again.Tokens, Is.EqualTo((await single.AskAsync(WorkerNode.Request(prompt))).Tokens));
        Assert.That(again.CachedTokens, Is.Zero, "nothing of the broken hand-over may be published");
        Assert.That(decode.Metric("imports_failed_refused_total"), Is.EqualTo(1));
    }

    [TestCase("waiting")]
    [TestCase("prefill")]
    [TestCase("decode")]
    public async Task Generate_AbandonedAtAnyStage_ReleasesBothPools(string stage)
    {
        await using var prefill = await WorkerNode.StartAsync(new NodePlan { ChunkTokens = 16 });
        await using var decode = await WorkerNode.StartAsync(
            new NodePlan { Engine = new EngineOptions { RunningSequencesMax = 1 } });
        using var others = new CancellationTokenSource();
        using var gone = new CancellationTokenSource();
        var blocking = stage == "waiting"
            ? Task.Run(() => ReadAsync(decode, Prompt(50, 9), "", null, others.Token))
            : null;
        await WorkerNode.UntilAsync(
            () => blocking is null || decode.Worker.Status().Running == 1, "the other one runs");
        var tokens = 0;
        var reading = Task.Run(() => ReadAsync(
            decode, Prompt(3000, 2), prefill.Address, () => Interlocked.Increment(ref tokens), gone.Token));
        await WorkerNode.UntilAsync(
            () => stage switch
            {
                "waiting" => decode.Worker.Status().Waiting == 1,
                "prefill" => Received(decode) > 0,
                _ => Volatile.Read(ref tokens) > 2,
            },
            $"stage {stage}");

        var clock = Stopwatch.StartNew();
        await gone.CancelAsync();
        Assert.That(() => reading, Throws.InstanceOf<OperationCanceledException>());
        await others.CancelAsync();
        await prefill.RequireEmptyAsync("prefill");
        await decode.RequireEmptyAsync("decode");
        await TestContext.Out.WriteLineAsync($"{stage}: empty after {clock.Elapsed.TotalMilliseconds:0} ms");
        Assert.That(() => blocking ?? Task.FromCanceled(others.Token), Throws.InstanceOf<OperationCanceledException>());
    }

    [TestCase(true, 5, 0)]
    [TestCase(false, 5, 0)]
    [TestCase(false, 0, 20)]
    public async Task Generate_WithDamagedAndLostFrames_IsStillRight(bool sharedMemory, int corruptOneIn, int dropOneIn)
    {
        await using var single = await WorkerNode.StartAsync();
        await using var prefill = await WorkerNode.StartAsync(new NodePlan
        {
            SharedMemory = sharedMemory,
            Faults = new TransferFaultOptions { CorruptFrameOneIn = corruptOneIn, DropConnectionOneIn = dropOneIn },
        });
        await using var decode = await WorkerNode.StartAsync(new NodePlan { SharedMemory = sharedMemory });
        for (var seed = 0; seed < 3; seed++)
        {
            var prompt = Prompt(1500 + seed, seed);

            var answer = await decode.AskAsync(WorkerNode.Request(prompt, prefill.Address));

            var expected = await single.AskAsync(WorkerNode.Request(prompt));
            Assert.That(answer.Tokens, Is.EqualTo(expected.Tokens), $"seed {seed}");
            Assert.That(
                decode.Logits(prompt, prompt.Length + 1), Is.EqualTo(single.Logits(prompt, prompt.Length + 1)),
                $"seed {seed}");
        }

        Assert.That(prefill.Transfer.Statistics().Retransmits, Is.Positive);
        Assert.That(decode.Transfer.Statistics().CorruptReceived, corruptOneIn > 0 ? Is.Positive : Is.Zero);
        await prefill.RequireEmptyAsync("prefill");
        await decode.RequireEmptyAsync("decode");
    }

    [Test]
    public async Task Generate_AfterAnAbortedHandOver_IsNotTouchedByItsLateFrames()
    {
        await using var single = await WorkerNode.StartAsync();
        await using var decode = await WorkerNode.StartAsync(new NodePlan { PoolBytes = 4 << 20 });
        var prompt = Prompt(1000, 5);
        Wire.PrefillRequest? order = null;
        await using var late = await ScriptedPrefill.StartAsync((request, _, _) =>
        {
            order = request;
            throw new RpcException(new Status(StatusCode.Unavailable, "lost"));
        });
        await Assert.ThrowsAsync<PrefillUnavailableException>(
            () => decode.AskAsync(WorkerNode.Request(prompt, late.Address)));
        var target = new ReservationId(order!.Reservation, order.Generation);
        var garbage = new byte[decode.Worker.Model.KvLayout.BytesPerBlock];
        garbage.AsSpan().Fill(0x7f);
        var pinned = GCHandle.Alloc(garbage, GCHandleType.Pinned);

        // The pool is small, so that the same blocks are in use again when the late frames come.
        var generating = Task.Run(() => decode.AskAsync(WorkerNode.Request(prompt, maxNewTokens: 40)));
        TransferException? stale = null;
        await using (var session = await late.Transfer.BeginAsync(
            decode.Address, target, TransferPriority.HandOver, framesMax: 64, CancellationToken.None))
        {
            for (var slot = 0; slot < 10; slot++)
            {
                session.TryEnqueue(pinned.AddrOfPinnedObject(), garbage.Length, slot, 0);
            }

            stale = await Assert.ThrowsAsync<TransferException>(() => session.FlushAsync(CancellationToken.None));
        }

        var answer = await generating;
        pinned.Free();

        Assert.That(stale!.Reason, Is.EqualTo(TransferFailure.Stale));
        Assert.That(decode.Transfer.Statistics().StaleReceived, Is.Positive);
        Assert.That(
            answer.Tokens, Is.EqualTo((await single.AskAsync(WorkerNode.Request(prompt, maxNewTokens: 40))).Tokens));
    }

    private static IEnumerable<TestCaseData> Lies()
    {
        var token = new Wire.TokenGenerated { TokenId = 7 };
        var computed = new Wire.PrefillEvent
        {
            Computed = new Wire.PrefillComputed { PromptTokens = 300, FirstToken = token },
        };
        var handedOver = new Wire.PrefillEvent { HandedOver = new Wire.HandedOver { Bytes = 300 * 2304 } };
        yield return new TestCaseData((object)new[] { computed, handedOver }).SetArgDisplayNames("NothingSent");
        yield return new TestCaseData((object)new[] { computed }).SetArgDisplayNames("NoEnd");
        yield return new TestCaseData((object)new[] { handedOver }).SetArgDisplayNames("NoResult");
        yield return new TestCaseData((object)new[] { new Wire.PrefillEvent() }).SetArgDisplayNames("NoEvent");
        yield return new TestCaseData((object)new[]
        {
            new Wire.PrefillEvent { Computed = new Wire.PrefillComputed { PromptTokens = 299, FirstToken = token } },
        }).SetArgDisplayNames("OtherPrompt");
        yield return new TestCaseData((object)new[]
        {
            new Wire.PrefillEvent
            {
                Computed = new Wire.PrefillComputed
                {
                    PromptTokens = 300,
                    FirstToken = new Wire.TokenGenerated { TokenId = 1_000_000 },
                },
            },
        }).SetArgDisplayNames("NoSuchToken");
        yield return new TestCaseData((object)new[]
        {
            new Wire.PrefillEvent { Computed = new Wire.PrefillComputed { PromptTokens = 300 } },
        }).SetArgDisplayNames("NoToken");
    }

    [TestCaseSource(nameof(Lies))]
    public async Task Generate_WhenThePrefillWorkerLies_PublishesNothing(Wire.PrefillEvent[] events)
    {
        await using var lying = await ScriptedPrefill.StartAsync(events);
        await using var decode = await WorkerNode.StartAsync();
        var prompt = Prompt(300, 3);

        await Assert.ThrowsAsync<PrefillUnavailableException>(
            () => decode.AskAsync(WorkerNode.Request(prompt, lying.Address)));

        Assert.That(decode.Metric("imports_failed_protocol_total"), Is.EqualTo(1));
        Assert.That((await decode.AskAsync(WorkerNode.Request(prompt))).CachedTokens, Is.Zero);
        await decode.RequireEmptyAsync("decode");
    }

    [Test]
    public async Task Generate_WhenAFrameWouldHitASharedBlock_IsRefused()
    {
        await using var decode = await WorkerNode.StartAsync();
        var prompt = Prompt(3 * BlockTokens + 7, 4);
        var cached = await decode.AskAsync(WorkerNode.Request(prompt));
        var answered = TransferFailure.Cancelled;
        await using var wrong = await ScriptedPrefill.StartAsync(async (order, transfer, _) =>
        {
            var bytes = GC.AllocateArray<byte>(4096, pinned: true);
            await using var session = await transfer.BeginAsync(
                order.DestinationAddress, new ReservationId(order.Reservation, order.Generation),
                TransferPriority.HandOver, framesMax: 4, CancellationToken.None);
            session.TryEnqueue(Marshal.UnsafeAddrOfPinnedArrayElement(bytes, 0), bytes.Length, slot: 0, offset: 0);
            var refused = await Assert.ThrowsAsync<TransferException>(() => session.FlushAsync(CancellationToken.None));
            answered = refused!.Reason;
        });

        await Assert.ThrowsAsync<PrefillUnavailableException>(
            () => decode.AskAsync(WorkerNode.Request(prompt, wrong.Address)));

        Assert.That(answered, Is.EqualTo(TransferFailure.OutOfRange));
        Assert.That((await decode.AskAsync(WorkerNode.Request(prompt))).Tokens, Is.EqualTo(cached.Tokens));
    }

    [Test]
    public async Task Generate_WhenThePrefillDoesNotBegin_GivesUpInTime()
    {
        await using var busy = await WorkerNode.StartAsync(
            new NodePlan { Engine = new EngineOptions { RunningSequencesMax = 1 } });
        await using var decode = await WorkerNode.StartAsync(
            new NodePlan { HandOver = new HandOverOptions { QueueSecondsMax = 1 } });
        using var others = new CancellationTokenSource();
        var blocking = Task.Run(() => ReadAsync(busy, Prompt(50, 9), "", null, others.Token));
        await WorkerNode.UntilAsync(() => busy.Worker.Status().Running == 1, "the other one runs");

        await Assert.ThrowsAsync<PrefillUnavailableException>(
            () => decode.AskAsync(WorkerNode.Request(Prompt(200, 1), busy.Address)));

        Assert.That(decode.Metric("imports_failed_deadline_total"), Is.EqualTo(1));
        await others.CancelAsync();
        Assert.That(() => blocking, Throws.InstanceOf<OperationCanceledException>());
        await busy.RequireEmptyAsync("busy");
        await decode.RequireEmptyAsync("decode");
    }

    [Test]
    public async Task Generate_WhenAWorkerDrains_IsRefusedWithTheReason()
    {
        await using var prefill = await WorkerNode.StartAsync();
        await using var decode = await WorkerNode.StartAsync();
        prefill.Worker.BeginDrain();
        await WorkerNode.UntilAsync(() => prefill.Worker.IsDrained, "drained");

        var refusal = await Assert.ThrowsAsync<PrefillUnavailableException>(
            () => decode.AskAsync(WorkerNode.Request(Prompt(100, 1), prefill.Address)));
        decode.Worker.BeginDrain();
        await Assert.ThrowsAsync<DrainingException>(() => decode.AskAsync(WorkerNode.Request(Prompt(100, 1))));

        Assert.That(refusal!.Reason, Does.Contain("draining"));
        Assert.That(decode.Worker.Load().Draining, Is.True);
    }

    [Test]
    public async Task Generate_WhenNobodyIsAtTheAddress_IsRefused()
    {
        await using var decode = await WorkerNode.StartAsync();

        foreach (var address in new[] { "http://127.0.0.1:1", "nonsense" })
        {
            await Assert.ThrowsAsync<PrefillUnavailableException>(
                () => decode.AskAsync(WorkerNode.Request(Prompt(100, 1), address)));
        }

        await decode.RequireEmptyAsync("decode");
    }

    [Test]
    public async Task Dispose_DuringAHandOver_EndsItOnBothSides([Values] bool ofPrefill)
    {
        var prefill = await WorkerNode.StartAsync(new NodePlan { ChunkTokens = 16 });
        var decode = await WorkerNode.StartAsync();
        var asking = Task.Run(() => decode.AskAsync(WorkerNode.Request(Prompt(4000, 1), prefill.Address)));
        await WorkerNode.UntilAsync(() => Received(decode) > 0, "frames arrive");
        var (first, second) = ofPrefill ? (prefill, decode) : (decode, prefill);

        await first.DisposeAsync();

        Assert.That(() => asking, Throws.Exception);
        await second.RequireEmptyAsync("the other side");
        await second.DisposeAsync();
    }

    private static long Received(WorkerNode node)
    {
        var statistics = node.Transfer.Statistics();
        return statistics.ReceivedBytesGrpc + statistics.ReceivedBytesSharedMemory;
    }

    private static async Task ReadAsync(
        WorkerNode node, int[] prompt, string prefillAddress, Action? onToken, CancellationToken cancellation)
    {
        var request = WorkerNode.Request(prompt, prefillAddress, maxNewTokens: 15_000) with { StopTokens = [] };
        await foreach (var next in node.Worker.GenerateAsync(request, cancellation))
        {
            if (next is TokenGenerated)
            {
                onToken?.Invoke();
            }
        }
    }
}
