namespace Kimi.Mooncake.Transfer.Tests;

/// <summary>Many transfers at once, with every fault there is; all bytes are right in the end.</summary>
[TestFixture(TransferTransport.Grpc)]
[TestFixture(TransferTransport.SharedMemory)]
[TestFixture(TransferTransport.Tcp)]
public sealed class RandomRunTests(TransferTransport transport)
{
    private const int Transfers = 12;
    private const int Slots = 9;
    private const int SlotBytes = 70_000;

    [Test]
    public async Task Transfers_WithFaults_LandBitExact([Range(1, 6)] int seed)
    {
        var random = new Random(seed);
        var options = TransferPair.OptionsOf(transport) with
        {
            FrameBytes = 16 << 10 << random.Next(3),
            ReconnectDelayMsMax = 3,
            ConnectionsPerPeer = random.Next(1, 4),
            CreditBytes = 128 << 10,
            FramesInFlightMax = random.Next(1, 40),
            CorruptRetriesMax = 100,
        };
        var fault = new TransferFaultOptions
        {
            CorruptFrameOneIn = random.Next(3, 30),
            DropConnectionOneIn = random.Next(10, 60),
        };
        await using var pair = await TransferPair.StartAsync(options, fault);
        var runs = Enumerable.Range(0, Transfers)
            .Select(i => Task.Run(() => RunAsync(pair, new Random((seed * 100) + i))));

        foreach (var outcome in await Task.WhenAll(runs))
        {
            Assert.That(outcome, Is.Empty, $"seed {seed}");
        }

        Assert.That(pair.Sender.Statistics().Sessions, Is.Zero);
        Assert.That(pair.Receiver.Engine.Statistics().Reservations, Is.Zero);
    }

    private static async Task<string> RunAsync(TransferPair pair, Random random)
    {
        using var source = new NativeSlots(Slots, SlotBytes);
        using var target = new NativeSlots(Slots, SlotBytes);
        using var expected = new NativeSlots(Slots, SlotBytes);
        source.Fill(random);
        var reservation = pair.Receiver.Engine.Reserve(target.Addresses, SlotBytes);
        var session = await pair.BeginAsync(reservation.Id, Slots * 8, (TransferPriority)random.Next(4));
        var bytes = 0L;
        // Regions of a slot do not overlap, since their order on the way is not kept.
        for (var slot = 0; slot < Slots; slot++)
        {
            for (var at = 0; at < SlotBytes;)
            {
                var length = Math.Min(random.Next(1, 40_000), SlotBytes - at);
                if (random.Next(4) > 0)
                {
                    source[slot].Slice(at, length).CopyTo(expected[slot][at..]);
                    bytes += session.TryEnqueue(source.Address(slot) + at, length, slot, at) ? length : 0;
                }

                at += length;
            }
        }

        var isGivenUp = random.Next(5) == 0;
        if (!isGivenUp)
        {
            await session.FlushAsync(pair.Limit);
        }

        await session.DisposeAsync();
        reservation.Dispose();
        var isRight = Enumerable.Range(0, Slots).All(slot => target[slot].SequenceEqual(expected[slot]));
        return !target.GuardsAreIntact() ? "written beyond a slot"
            : isGivenUp || (isRight && reservation.BytesWritten == bytes) ? ""
            : $"{reservation.BytesWritten} of {bytes} bytes, right: {isRight}";
    }
}
