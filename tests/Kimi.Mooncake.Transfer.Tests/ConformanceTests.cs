namespace Kimi.Mooncake.Transfer.Tests;

/// <summary>What every transport does.</summary>
[TestFixture(TransferTransport.Grpc)]
[TestFixture(TransferTransport.SharedMemory)]
[TestFixture(TransferTransport.Tcp)]
public sealed class ConformanceTests(TransferTransport transport)
{
    private const int Slots = 64;
    private const int SlotBytes = 200_000;

    private TransferOptions Options => TransferPair.OptionsOf(transport) with { FrameBytes = 64 << 10 };

    [Test]
    public async Task Frames_ToAReservation_LandBitExact()
    {
        await using var pair = await TransferPair.StartAsync(Options);
        using var source = new NativeSlots(Slots, SlotBytes);
        using var target = new NativeSlots(Slots, SlotBytes);
        source.Fill(new Random(1));
        using var reservation = pair.Receiver.Engine.Reserve(target.Addresses, SlotBytes);
        await using var session = await pair.BeginAsync(reservation.Id, Slots);

        EnqueueAll(session, source);
        await session.FlushAsync(pair.Limit);

        AssertEqual(source, target);
        Assert.That(reservation.BytesWritten, Is.EqualTo((long)Slots * SlotBytes));
        Assert.That(session.BytesAcknowledged, Is.EqualTo((long)Slots * SlotBytes));
        var flow = pair.Sender.Statistics().Sent.Single(flow => flow.Frames > 0);
        Assert.That((flow.Transport, flow.Priority), Is.EqualTo((transport, TransferPriority.HandOver)));
        Assert.That(flow.Bytes, Is.EqualTo((long)Slots * SlotBytes));
        Assert.That(flow.Frames, Is.EqualTo(Slots * 4), "200,000 bytes are four frames of 64 KiB at most");
    }

    [Test]
    public async Task TryEnqueue_BeyondFramesMaxOrAfterTheEnd_IsRefused()
    {
        await using var pair = await TransferPair.StartAsync(Options);
        using var source = new NativeSlots(1, SlotBytes);
        using var target = new NativeSlots(1, SlotBytes);
        using var reservation = pair.Receiver.Engine.Reserve(target.Addresses, SlotBytes);
        var session = await pair.BeginAsync(reservation.Id, framesMax: 2);

        Assert.That(session.TryEnqueue(source.Address(0), 10, 0, 0), Is.True);
        Assert.That(session.TryEnqueue(source.Address(0), 10, 0, 10), Is.True);
        Assert.That(session.TryEnqueue(source.Address(0), 10, 0, 20), Is.False);
        await session.FlushAsync(pair.Limit);
        await session.DisposeAsync();
        Assert.That(session.TryEnqueue(source.Address(0), 10, 0, 0), Is.False);
        Assert.That(
            () => session.TryEnqueue(source.Address(0), 0, 0, 0), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(reservation.BytesWritten, Is.EqualTo(20));
    }

    [Test]
    public async Task Dispose_OfTheReservationMidTransfer_NothingIsWrittenAfterwards([Range(1, 8)] int seed)
    {
        await using var pair = await TransferPair.StartAsync(Options);
        using var source = new NativeSlots(Slots, SlotBytes);
        using var target = new NativeSlots(Slots, SlotBytes);
        source.Fill(new Random(seed));
        var reservation = pair.Receiver.Engine.Reserve(target.Addresses, SlotBytes);
        await using var session = await pair.BeginAsync(reservation.Id, 20 * Slots);
        for (var round = 0; round < 20; round++)
        {
            EnqueueAll(session, source);
        }

        await pair.UntilAsync(() => reservation.BytesWritten > seed * 100_000L);
        reservation.Dispose();
        Clear(target);

        var failure = (await Assert.ThrowsAsync<TransferException>(() => session.FlushAsync(pair.Limit)))!;
        Assert.That(failure.Reason, Is.EqualTo(TransferFailure.Stale), failure.Message);
        Assert.That(session.TryEnqueue(source.Address(0), 10, 0, 0), Is.False);
        await SendOneAsync(pair);
        AssertClear(target, $"seed {seed}: a frame was written after Dispose");
        Assert.That(pair.Receiver.Engine.Statistics().StaleReceived, Is.Positive);
    }

    [Test]
    public async Task Frame_OfAnotherGenerationOrTransfer_IsStale()
    {
        await using var pair = await TransferPair.StartAsync(Options);
        using var source = new NativeSlots(1, SlotBytes);
        using var target = new NativeSlots(1, SlotBytes);
        source.Fill(new Random(2));
        using var reservation = pair.Receiver.Engine.Reserve(target.Addresses, SlotBytes);

        Assert.That(
            await FailureOfAsync(pair, reservation.Id with { Generation = reservation.Id.Generation + 1 }, 0, 0),
            Is.EqualTo(TransferFailure.Stale));
        AssertClear(target, "wrong generation");

        await using var first = await pair.BeginAsync(reservation.Id, 1);
        Assert.That(first.TryEnqueue(source.Address(0), 100, 0, 0));
        await first.FlushAsync(pair.Limit);
        Assert.That(await FailureOfAsync(pair, reservation.Id, 0, 0), Is.EqualTo(TransferFailure.Stale));
    }

    [TestCase(1, 0)]
    [TestCase(0, SlotBytes - 99)]
    [TestCase(int.MaxValue, 0)]
    [TestCase(0, int.MaxValue)]
    [TestCase(2, 0)]
    public async Task Frame_OutsideOfTheReservation_IsRefused(int slot, int offset)
    {
        await using var pair = await TransferPair.StartAsync(Options);
        using var target = new NativeSlots(2, SlotBytes);
        // Slot 1 has no memory.
        using var reservation = pair.Receiver.Engine.Reserve([target.Address(0), 0], SlotBytes);

        var failure = await FailureOfAsync(pair, reservation.Id, slot, offset);

        Assert.That(failure, Is.EqualTo(TransferFailure.OutOfRange));
        Assert.That(reservation.BytesWritten, Is.Zero);
        AssertClear(target, "out of range");
        Assert.That(target.GuardsAreIntact());
    }

    [Test]
    public async Task Frames_DamagedOnTheWay_AreSentAgain()
    {
        await using var pair = await TransferPair.StartAsync(
            Options, new TransferFaultOptions { CorruptFrameOneIn = 5 });
        using var source = new NativeSlots(Slots, SlotBytes);
        using var target = new NativeSlots(Slots, SlotBytes);
        source.Fill(new Random(3));
        using var reservation = pair.Receiver.Engine.Reserve(target.Addresses, SlotBytes);
        await using var session = await pair.BeginAsync(reservation.Id, Slots);

        EnqueueAll(session, source);
        await session.FlushAsync(pair.Limit);

        AssertEqual(source, target);
        var sent = pair.Sender.Statistics();
        Assert.That(sent.CorruptSent, Is.GreaterThan(Slots / 2));
        Assert.That(sent.Retransmits, Is.EqualTo(sent.CorruptSent));
        Assert.That(pair.Receiver.Engine.Statistics().CorruptReceived, Is.EqualTo(sent.CorruptSent));
        Assert.That(reservation.BytesWritten, Is.EqualTo((long)Slots * SlotBytes));
    }

    [Test]
    public async Task Frames_DamagedAlways_FailTheSession()
    {
        await using var pair = await TransferPair.StartAsync(
            Options, new TransferFaultOptions { CorruptFrameOneIn = 1 });
        using var target = new NativeSlots(1, SlotBytes);
        using var reservation = pair.Receiver.Engine.Reserve(target.Addresses, SlotBytes);

        Assert.That(await FailureOfAsync(pair, reservation.Id, 0, 0), Is.EqualTo(TransferFailure.Corrupt));
        Assert.That(
            pair.Receiver.Engine.Statistics().CorruptReceived, Is.EqualTo(1 + Options.CorruptRetriesMax));
        Assert.That(reservation.BytesWritten, Is.Zero);
    }

    [Test]
    public async Task Connections_LostAgainAndAgain_TheTransferGoesOn([Values(7, 30)] int oneIn)
    {
        await using var pair = await TransferPair.StartAsync(
            Options with { ReconnectDelayMsMax = 5 }, new TransferFaultOptions { DropConnectionOneIn = oneIn });
        using var source = new NativeSlots(Slots, SlotBytes);
        using var target = new NativeSlots(Slots, SlotBytes);
        source.Fill(new Random(4));
        using var reservation = pair.Receiver.Engine.Reserve(target.Addresses, SlotBytes);
        await using var session = await pair.BeginAsync(reservation.Id, Slots);

        EnqueueAll(session, source);
        await session.FlushAsync(pair.Limit);

        AssertEqual(source, target);
        // A connection of which n frames were answered takes at most n + 1 with it, the first of each lane a few more.
        Assert.That(pair.Sender.Statistics().ConnectionsLost, Is.Positive);
        Assert.That(pair.Sender.Statistics().Retransmits, Is.Positive.And.LessThan(2 * Slots * 4));
        Assert.That(
            reservation.BytesWritten, Is.EqualTo((long)Slots * SlotBytes), "each frame counts once");
        Assert.That(session.BytesAcknowledged, Is.EqualTo((long)Slots * SlotBytes));
    }

    [Test]
    public async Task Dispose_OfTheSessionMidTransfer_NothingIsReadAfterwards([Range(1, 6)] int seed)
    {
        const byte Forbidden = 0xEE;
        await using var pair = await TransferPair.StartAsync(Options);
        using var source = new NativeSlots(Slots, SlotBytes);
        using var target = new NativeSlots(Slots, SlotBytes);
        using var reservation = pair.Receiver.Engine.Reserve(target.Addresses, SlotBytes);
        var session = await pair.BeginAsync(reservation.Id, Slots);
        EnqueueAll(session, source);
        var flush = session.FlushAsync(pair.Limit);
        await pair.UntilAsync(() => reservation.BytesWritten > seed * 50_000L || flush.IsCompleted);

        await session.DisposeAsync();
        for (var slot = 0; slot < Slots; slot++)
        {
            source[slot].Fill(Forbidden);
        }

        // Frames that were on their way have arrived when a later one of each connection has.
        await SendOneAsync(pair);
        reservation.Dispose();
        for (var slot = 0; slot < Slots; slot++)
        {
            Assert.That(target[slot].Contains(Forbidden), Is.False, $"seed {seed}, slot {slot}");
        }

        if (!flush.IsCompletedSuccessfully)
        {
            var failure = (await Assert.ThrowsAsync<TransferException>(() => flush))!;
            Assert.That(failure.Reason, Is.EqualTo(TransferFailure.Cancelled));
        }

        Assert.That(pair.Sender.Statistics().Sessions, Is.Zero);
    }

    [Test]
    public async Task FlushAsync_Cancelled_EndsAndTheSessionGoesOn()
    {
        await using var pair = await TransferPair.StartAsync(Options);
        using var source = new NativeSlots(Slots, SlotBytes);
        using var target = new NativeSlots(Slots, SlotBytes);
        source.Fill(new Random(5));
        using var reservation = pair.Receiver.Engine.Reserve(target.Addresses, SlotBytes);
        await using var session = await pair.BeginAsync(reservation.Id, Slots);
        EnqueueAll(session, source);

        var flush = session.FlushAsync(new CancellationToken(canceled: true));
        Assert.That(flush.IsCanceled || flush.IsCompletedSuccessfully);
        await session.FlushAsync(pair.Limit);

        AssertEqual(source, target);
    }

    [Test]
    public async Task Engines_Disposed_LeaveNothingOpen()
    {
        var pair = await TransferPair.StartAsync(Options);
        using var source = new NativeSlots(Slots, SlotBytes);
        using var target = new NativeSlots(Slots, SlotBytes);
        using var reservation = pair.Receiver.Engine.Reserve(target.Addresses, SlotBytes);
        await using var session = await pair.BeginAsync(reservation.Id, Slots);
        EnqueueAll(session, source);
        await pair.UntilAsync(() => pair.Receiver.Engine.Statistics().ReceivingConnections > 0);

        await pair.Sender.DisposeAsync();
        await pair.UntilAsync(() => pair.Receiver.Engine.Statistics().ReceivingConnections == 0);

        Assert.That(session.TryEnqueue(source.Address(0), 1, 0, 0), Is.False);
        Assert.That(
            async () => await pair.BeginAsync(reservation.Id, 1), Throws.InstanceOf<ObjectDisposedException>());
        await pair.DisposeAsync();
        Assert.That(pair.Receiver.Engine.Statistics().Reservations, Is.Zero);
        Assert.That(
            File.ReadLines("/proc/self/maps").Any(line => line.Contains("mooncake-transfer", StringComparison.Ordinal)),
            Is.False, "shared memory is still mapped");
    }

    [Test]
    public async Task BeginAsync_WithoutAReceiver_SaysUnreachable()
    {
        await using var pair = await TransferPair.StartAsync(Options);
        var address = pair.Receiver.Address;
        await pair.Receiver.DisposeAsync();

        var failure = (await Assert.ThrowsAsync<TransferException>(
            async () => await pair.Sender.BeginAsync(
                address, new ReservationId(1, 1), TransferPriority.HandOver, 1, pair.Limit)))!;

        Assert.That(failure.Reason, Is.EqualTo(TransferFailure.Unreachable));
        Assert.That(failure.Message, Does.Contain(address));
    }

    private static void EnqueueAll(TransferSession session, NativeSlots source)
    {
        for (var slot = 0; slot < Slots; slot++)
        {
            Assert.That(session.TryEnqueue(source.Address(slot), SlotBytes, slot, 0), Is.True);
        }
    }

    private static void AssertEqual(NativeSlots source, NativeSlots target)
    {
        for (var slot = 0; slot < Slots; slot++)
        {
            Assert.That(target[slot].SequenceEqual(source[slot]), $"slot {slot}");
        }

        Assert.That(target.GuardsAreIntact(), "written beyond a slot");
    }

    private static void Clear(NativeSlots target)
    {
        for (var slot = 0; slot < Slots; slot++)
        {
            target[slot].Clear();
        }
    }

    private static void AssertClear(NativeSlots target, string what)
    {
        for (var slot = 0; slot < target.Addresses.Length; slot++)
        {
            Assert.That(target[slot].IndexOfAnyExcept((byte)0), Is.EqualTo(-1), $"{what}: slot {slot}");
        }
    }

    private static async Task<TransferFailure> FailureOfAsync(
        TransferPair pair, ReservationId target, int slot, int offset)
    {
        using var source = new NativeSlots(1, SlotBytes);
        source.Fill(new Random(6));
        await using var session = await pair.BeginAsync(target, 1);
        Assert.That(session.TryEnqueue(source.Address(0), 100, slot, offset));
        return (await Assert.ThrowsAsync<TransferException>(() => session.FlushAsync(pair.Limit)))!.Reason;
    }

    // Enough frames that every connection carries some.
    private static async Task SendOneAsync(TransferPair pair)
    {
        using var source = new NativeSlots(Slots, SlotBytes);
        using var target = new NativeSlots(Slots, SlotBytes);
        source.Fill(new Random(7));
        using var reservation = pair.Receiver.Engine.Reserve(target.Addresses, SlotBytes);
        await using var session = await pair.BeginAsync(reservation.Id, Slots);
        EnqueueAll(session, source);
        await session.FlushAsync(pair.Limit);
        AssertEqual(source, target);
    }
}
