using Google.Protobuf;
using Grpc.Core;
using Kimi.Mooncake.Core;
using Microsoft.Extensions.Logging.Abstractions;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Transfer.Tests;

/// <summary>Against the code that is generated from the contract, as anyone else would use it.</summary>
public sealed class ForeignTests
{
    private const int FrameBytes = 64 << 10;

    [Test]
    public async Task GeneratedClient_Sending_IsAnswered()
    {
        await using var receiver = await Receiver.StartAsync(TransferPair.OptionsOf(TransferTransport.Grpc));
        using var target = new NativeSlots(2, 1000);
        using var reservation = receiver.Engine.Reserve(target.Addresses, 1000);
        using var channel = PeerChannel.Create(receiver.Address, new PeerOptions(), NullLoggerFactory.Instance);
        using var call = new Wire.Transfer.TransferClient(channel.Invoker).Frames();

        Assert.That(await call.ResponseStream.MoveNext(CancellationToken.None));
        Assert.That(call.ResponseStream.Current.Outcome, Is.EqualTo(Wire.FrameOutcome.Unspecified));
        Assert.That(call.ResponseStream.Current.CreditBytes, Is.EqualTo(new TransferOptions().CreditBytes));

        var frame = Frame(reservation.Id, 0, [1, 2, 3]);
        frame.Slot = 1;
        frame.Offset = 997;
        var corrupt = Frame(reservation.Id, 1, [4, 5]);
        corrupt.Crc32C ^= 1;
        var outside = Frame(reservation.Id, 2, [6]);
        outside.Slot = 2;
        var stale = Frame(reservation.Id, 3, [7]);
        stale.Generation++;
        Wire.FrameOutcome[] expected =
        [
            Wire.FrameOutcome.Written, Wire.FrameOutcome.Corrupt, Wire.FrameOutcome.OutOfRange,
            Wire.FrameOutcome.Stale,
        ];
        foreach (var (sent, outcome) in new[] { frame, corrupt, outside, stale }.Zip(expected))
        {
            await call.RequestStream.WriteAsync(sent);
            Assert.That(await call.ResponseStream.MoveNext(CancellationToken.None));
            var reply = call.ResponseStream.Current;
            Assert.That(
                (reply.Outcome, reply.Sequence, reply.Reservation, (int)reply.CreditBytes),
                Is.EqualTo((outcome, sent.Sequence, sent.Reservation, sent.Payload.Length)));
        }

        await call.RequestStream.CompleteAsync();
        Assert.That(await call.ResponseStream.MoveNext(CancellationToken.None), Is.False);
        Assert.That(target[1][997..].ToArray(), Is.EqualTo((byte[])[1, 2, 3]));
        Assert.That(reservation.BytesWritten, Is.EqualTo(3));
    }

    [Test]
    public async Task Sender_TowardsAGeneratedServer_KeepsToItsCredit([Values(1, 2, 3)] int seed)
    {
        const int Frames = 100;
        var service = new ScriptedReceiver(new Random(seed), creditBytes: 4 * FrameBytes);
        await using var server = await Receiver.StartAsync(service);
        await using var pair = await TransferPair.StartAsync(
            TransferPair.OptionsOf(TransferTransport.Grpc) with { FrameBytes = FrameBytes, ConnectionsPerPeer = 1 });
        using var source = new NativeSlots(Frames, FrameBytes);
        source.Fill(new Random(seed));
        var target = new ReservationId(77, 88);
        await using var session = await pair.Sender.BeginAsync(
            server.Address, target, TransferPriority.Prefetch, Frames, pair.Limit);
        for (var i = 0; i < Frames; i++)
        {
            Assert.That(session.TryEnqueue(source.Address(i), FrameBytes, i, 0));
        }

        await session.FlushAsync(pair.Limit);

        Assert.That(
            service.UnansweredBytesMost, Is.EqualTo(4 * FrameBytes), $"seed {seed}: all of the credit, no more");
        Assert.That(service.Received, Has.Count.EqualTo(Frames));
        for (var i = 0; i < Frames; i++)
        {
            var frame = service.Received[i];
            Assert.That(frame.Payload.Span.SequenceEqual(source[i]), $"seed {seed}, frame {i}");
            Assert.That(
                (frame.Reservation, frame.Generation, frame.Slot, frame.Sequence, frame.Crc32C),
                Is.EqualTo((target.Id, target.Generation, (uint)i, (uint)i, Checksum(frame.Payload))));
        }
    }

    private static Wire.Frame Frame(ReservationId target, uint sequence, byte[] payload) => new()
    {
        Reservation = target.Id,
        Generation = target.Generation,
        Sequence = sequence,
        Crc32C = Checksum(ByteString.CopyFrom(payload)),
        Payload = ByteString.CopyFrom(payload),
    };

    private static uint Checksum(ByteString payload) => Crc32C.Finish(Crc32C.Append(Crc32C.Start, payload.Span));

    /// <summary>Keeps frames back while it can, and answers some of them now and then.</summary>
    internal sealed class ScriptedReceiver(Random random, int creditBytes) : Wire.Transfer.TransferBase
    {
        public List<Wire.Frame> Received { get; } = [];

        public int UnansweredBytesMost { get; private set; }

        public override Task<Wire.HelloResponse> Hello(Wire.HelloRequest request, ServerCallContext context) =>
            Task.FromResult(new Wire.HelloResponse { Host = "another" });

        public override async Task Frames(
            IAsyncStreamReader<Wire.Frame> requestStream, IServerStreamWriter<Wire.FrameReply> responseStream,
            ServerCallContext context)
        {
            await responseStream.WriteAsync(new Wire.FrameReply { CreditBytes = (uint)creditBytes });
            var unanswered = new Queue<Wire.Frame>();
            while (await requestStream.MoveNext(context.CancellationToken))
            {
                Received.Add(requestStream.Current);
                unanswered.Enqueue(requestStream.Current);
                UnansweredBytesMost = Math.Max(UnansweredBytesMost, unanswered.Sum(frame => frame.Payload.Length));
                var isFull = unanswered.Sum(frame => frame.Payload.Length) >= creditBytes;
                var isLast = Received.Count == 100;
                for (var i = isLast ? unanswered.Count : isFull ? random.Next(1, 5) : 0; i > 0; i--)
                {
                    var frame = unanswered.Dequeue();
                    await responseStream.WriteAsync(new Wire.FrameReply
                    {
                        Reservation = frame.Reservation,
                        Generation = frame.Generation,
                        Sequence = frame.Sequence,
                        Outcome = Wire.FrameOutcome.Written,
                        CreditBytes = (uint)frame.Payload.Length,
                    });
                }
            }
        }
    }
}
