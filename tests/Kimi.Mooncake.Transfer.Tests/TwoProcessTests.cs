using System.Globalization;
using Kimi.Mooncake.Cluster.Tests;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Transfer.Tests;

/// <summary>What happens between processes, and when one of them is killed.</summary>
[TestFixture(TransferTransport.Grpc)]
[TestFixture(TransferTransport.SharedMemory)]
[TestFixture(TransferTransport.Tcp)]
public sealed class TwoProcessTests(TransferTransport transport)
{
    private const long AllBytes = (long)TransferChild.Slots * TransferChild.SlotBytes;

    private string Transport => transport.ToString();

    [Test]
    public async Task Frames_ToAnotherProcess_LandBitExact()
    {
        using var child = TransferChild.Start("receive", Transport);
        await using var sender = Sender();
        using var source = Source();
        await using var session = await BeginAsync(sender, await child.ReadAsync());

        EnqueueAll(session, source);
        await session.FlushAsync(CancellationToken.None);

        Assert.That(await child.AskAsync(), Is.EqualTo($"{AllBytes} True"));
        Assert.That(sender.Statistics().Sent.Single(flow => flow.Bytes == AllBytes).Transport, Is.EqualTo(transport));
    }

    [Test]
    public async Task KilledReceiver_MidTransfer_FailsTheSessionInTime()
    {
        var time = new ManualTime();
        using var child = TransferChild.Start("receive", Transport);
        await using var sender = Sender(time);
        using var source = Source();
        var greeting = await child.ReadAsync();
        await using var session = await BeginAsync(sender, greeting);
        EnqueueAll(session, source);
        await session.FlushAsync(CancellationToken.None);

        await child.KillAsync();
        EnqueueAll(session, source);
        var flush = session.FlushAsync(CancellationToken.None);
        var options = TransferChild.OptionsOf(Transport);
        await UntilAsync(() => sender.Statistics().ConnectionsLost
            >= (transport == TransferTransport.SharedMemory ? 1 : options.ConnectionsPerPeer));
        Assert.That(flush.IsCompleted, Is.False, "failed before its time");
        time.Advance(TimeSpan.FromMilliseconds(options.StallMsMax));
        var failure = (await Assert.ThrowsAsync<TransferException>(() => flush))!;

        Assert.That(failure.Reason, Is.EqualTo(TransferFailure.Unreachable), failure.Message);
        Assert.That(session.TryEnqueue(source.Address(0), 1, 0, 0), Is.False);
        failure = (await Assert.ThrowsAsync<TransferException>(async () => await BeginAsync(sender, greeting)))!;
        Assert.That(failure.Reason, Is.EqualTo(TransferFailure.Unreachable), failure.Message);
    }

    [Test]
    public async Task KilledSender_MidTransfer_LeavesNothingAtTheReceiver()
    {
        await using var pair = await TransferPair.StartAsync(TransferChild.OptionsOf(Transport));
        using var target = new NativeSlots(TransferChild.Slots, TransferChild.SlotBytes);
        using var reservation = pair.Receiver.Engine.Reserve(target.Addresses, TransferChild.SlotBytes);
        using (var child = TransferChild.Start(
            "send", Transport, pair.Receiver.Address, Text(reservation.Id.Id), Text(reservation.Id.Generation)))
        {
            Assert.That(await child.ReadAsync(), Is.EqualTo(Text((ulong)AllBytes)));
            await child.KillAsync();
        }

        await pair.UntilAsync(() => pair.Receiver.Engine.Statistics().ReceivingConnections == 0);

        using var source = Source();
        for (var slot = 0; slot < TransferChild.Slots; slot++)
        {
            Assert.That(target[slot].SequenceEqual(source[slot]), $"slot {slot}");
        }

        Assert.That(
            File.ReadLines("/proc/self/maps").Any(line => line.Contains("mooncake-transfer", StringComparison.Ordinal)),
            Is.False, "the dead sender's memory is still mapped");
        reservation.Dispose();
        using var again = pair.Receiver.Engine.Reserve(target.Addresses, TransferChild.SlotBytes);
        await using var session = await pair.BeginAsync(again.Id, TransferChild.Slots);
        EnqueueAll(session, source);
        await session.FlushAsync(pair.Limit);
    }

    private static string Text(ulong number) => number.ToString(CultureInfo.InvariantCulture);

    private static NativeSlots Source()
    {
        var source = new NativeSlots(TransferChild.Slots, TransferChild.SlotBytes);
        TransferChild.Fill(source);
        return source;
    }

    private static ValueTask<TransferSession> BeginAsync(TransferEngine sender, string greeting)
    {
        var words = greeting.Split(' ');
        var target = new ReservationId(
            ulong.Parse(words[1], CultureInfo.InvariantCulture),
            uint.Parse(words[2], CultureInfo.InvariantCulture));
        return sender.BeginAsync(words[0], target, TransferPriority.HandOver, 10_000, CancellationToken.None);
    }

    private static void EnqueueAll(TransferSession session, NativeSlots source)
    {
        for (var slot = 0; slot < TransferChild.Slots; slot++)
        {
            Assert.That(session.TryEnqueue(source.Address(slot), TransferChild.SlotBytes, slot, 0));
        }
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        using var limit = new CancellationTokenSource(TransferPair.Patience);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(2));
        while (!condition())
        {
            await timer.WaitForNextTickAsync(limit.Token);
        }
    }

    private TransferEngine Sender(TimeProvider? time = null) => new(
        TransferChild.OptionsOf(Transport), new PeerOptions(), NullLoggerFactory.Instance,
        time ?? TimeProvider.System);
}
