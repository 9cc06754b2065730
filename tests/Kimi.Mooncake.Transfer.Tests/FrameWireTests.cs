using System.Buffers;
using Google.Protobuf;
using Kimi.Mooncake.Core;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Transfer.Tests;

public sealed class FrameWireTests
{
    private const int Rounds = 200;

    [Test]
    public void Frame_Written_IsTheGeneratedMessage([Values(1, 2)] int seed)
    {
        var random = new Random(seed);
        for (var round = 0; round < Rounds; round++)
        {
            var (header, payload) = RandomFrame(random);
            var frame = new byte[FrameWire.FrameBytes(payload.Length)];
            FrameWire.WriteFrame(header, payload, frame, isDamaged: false);

            var message = Wire.Frame.Parser.ParseFrom(frame);

            Assert.That(message, Is.EqualTo(Message(header, payload)), $"seed {seed}, round {round}");
        }
    }

    [Test]
    public void Frame_OfTheGeneratedMessageInAnyPieces_IsRead([Values(3, 4)] int seed)
    {
        var random = new Random(seed);
        for (var round = 0; round < Rounds; round++)
        {
            var (header, payload) = RandomFrame(random);
            var bytes = Message(header, payload).ToByteArray();

            FrameWire.ReadFrame(Pieces(bytes, random), out var read, out var found);

            Assert.That(read, Is.EqualTo(header with { Checksum = Checksum(payload) }), $"seed {seed}, round {round}");
            Assert.That(found.ToArray(), Is.EqualTo(payload));
        }
    }

    [Test]
    public void Reply_BothWays_IsTheGeneratedMessage([Values(5, 6)] int seed)
    {
        var random = new Random(seed);
        for (var round = 0; round < Rounds; round++)
        {
            var reply = new FrameReply(
                Id(random), (uint)random.NextInt64(1L << 32), (FrameOutcome)random.Next(5),
                (uint)random.NextInt64(1L << 32));
            var bytes = new byte[FrameWire.ReplyBytesMax];
            var length = FrameWire.WriteReply(reply, bytes);
            var message = Wire.FrameReply.Parser.ParseFrom(bytes, 0, length);

            Assert.That(message, Is.EqualTo(new Wire.FrameReply
            {
                Reservation = reply.Target.Id,
                Generation = reply.Target.Generation,
                Sequence = reply.Sequence,
                Outcome = (Wire.FrameOutcome)reply.Outcome,
                CreditBytes = reply.CreditBytes,
            }));
            Assert.That(FrameWire.ReadReply(Pieces(message.ToByteArray(), random)), Is.EqualTo(reply));
        }
    }

    [Test]
    public void Frame_CutOrDamaged_IsReadOrRefused([Values(7, 8)] int seed)
    {
        var random = new Random(seed);
        for (var round = 0; round < 10 * Rounds; round++)
        {
            var (header, payload) = RandomFrame(random);
            var bytes = Message(header, payload).ToByteArray();
            bytes[random.Next(Math.Min(bytes.Length, 50))] = (byte)random.Next(256);
            bytes = bytes[..random.Next(bytes.Length + 1)];
            try
            {
                FrameWire.ReadFrame(Pieces(bytes, random), out var read, out var found);
                Assert.That(read.Bytes, Is.EqualTo(found.Length), $"seed {seed}, round {round}");
            }
            catch (InvalidDataException e)
            {
                Assert.That(e.Message, Does.StartWith("a frame "));
            }
        }
    }

    [Test]
    public void Frame_WrittenReadAndPutInPlace_AllocatesNothing()
    {
        const int Bytes = 100_000;
        using var source = new NativeSlots(1, Bytes);
        using var target = new NativeSlots(1, Bytes);
        source.Fill(new Random(9));
        var table = new ReservationTable(new TransferCounters());
        using var reservation = table.Add(target.Addresses, Bytes);
        var frame = new byte[FrameWire.FrameBytes(Bytes)];
        var reply = new byte[FrameWire.ReplyBytesMax];
        var sequence = 0u;
        Send(300);

        var before = GC.GetAllocatedBytesForCurrentThread();
        Send(500);
        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;

        Assert.That(allocated, Is.Zero);
        Assert.That(reservation.BytesWritten, Is.EqualTo(800L * Bytes));
        Assert.That(target[0].SequenceEqual(source[0]));

        void Send(int count)
        {
            for (var i = 0; i < count; i++)
            {
                var header = new FrameHeader(reservation.Id, 1, sequence++, 0, 0, 0, Bytes);
                FrameWire.WriteFrame(header, source[0], frame, isDamaged: false);
                FrameWire.ReadFrame(new ReadOnlySequence<byte>(frame), out var read, out var payload);
                var outcome = table.Write(TransferTransport.Grpc, read, payload);
                FrameWire.WriteReply(new FrameReply(read.Target, read.Sequence, outcome, Bytes), reply);
            }
        }
    }

    [Test]
    public void Reservation_DamagedCopyOfAWrittenFrame_IsNotWritten()
    {
        byte[] good = [1, 2, 3, 4];
        using var target = new NativeSlots(1, good.Length);
        var table = new ReservationTable(new TransferCounters());
        using var reservation = table.Add(target.Addresses, good.Length);
        var header = new FrameHeader(reservation.Id, 1, 0, 0, 0, Checksum(good), good.Length);

        var first = table.Write(TransferTransport.Grpc, header, good);
        var copy = table.Write(TransferTransport.Grpc, header, (byte[])[9, 9, 9, 9]);

        Assert.That((first, copy), Is.EqualTo((FrameOutcome.Written, FrameOutcome.Written)));
        Assert.That(target[0].ToArray(), Is.EqualTo(good));
        Assert.That(reservation.BytesWritten, Is.EqualTo(good.Length));
    }

    private static (FrameHeader Header, byte[] Payload) RandomFrame(Random random)
    {
        var payload = new byte[random.Next(4) == 0 ? random.Next(3) : random.Next(40_000)];
        random.NextBytes(payload);
        var header = new FrameHeader(
            Id(random), (uint)random.NextInt64(1L << 32), (uint)random.NextInt64(1L << 32), (uint)random.Next(3),
            (uint)random.Next(3), 0, payload.Length);
        return (header, payload);
    }

    private static ReservationId Id(Random random) =>
        new((ulong)random.NextInt64() << 1, (uint)random.NextInt64(1L << 32));

    private static uint Checksum(byte[] payload) => Crc32C.Finish(Crc32C.Append(Crc32C.Start, payload));

    private static Wire.Frame Message(in FrameHeader header, byte[] payload) => new()
    {
        Reservation = header.Target.Id,
        Generation = header.Target.Generation,
        Transfer = header.Transfer,
        Sequence = header.Sequence,
        Slot = header.Slot,
        Offset = header.Offset,
        Crc32C = Checksum(payload),
        Payload = ByteString.CopyFrom(payload),
    };

    private static ReadOnlySequence<byte> Pieces(byte[] bytes, Random random)
    {
        var cut = random.Next(bytes.Length + 1);
        var first = new Piece(bytes.AsMemory(0, cut), 0);
        var last = first.Append(bytes.AsMemory(cut));
        return new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length);
    }

    private sealed class Piece : ReadOnlySequenceSegment<byte>
    {
        public Piece(ReadOnlyMemory<byte> memory, long index)
        {
            Memory = memory;
            RunningIndex = index;
        }

        public Piece Append(ReadOnlyMemory<byte> memory)
        {
            var next = new Piece(memory, RunningIndex + Memory.Length);
            Next = next;
            return next;
        }
    }
}
