using System.Buffers.Binary;
using System.Net.Sockets;
using System.Runtime.CompilerServices;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// Frames over plain TCP, little-endian. The receiver begins with a greeting of 16 bytes: magic, its credit in bytes. A
/// frame is a header of 64 bytes and the payload; a reply is 32 bytes.
/// </summary>
internal static class TcpWire
{
    public const int GreetingBytes = 16;
    public const int HeaderBytes = 64;
    public const int ReplyBytes = 32;

    private const ulong Magic = 0x31_70_63_74_6B_6E_6F_6D;

    public static void WriteGreeting(Span<byte> bytes, int creditBytes)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, Magic);
        BinaryPrimitives.WriteInt32LittleEndian(bytes[8..], creditBytes);
    }

    /// <exception cref="InvalidDataException">It is something else.</exception>
    public static int ReadGreeting(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt64LittleEndian(bytes) == Magic
        ? BinaryPrimitives.ReadInt32LittleEndian(bytes[8..])
        : throw new InvalidDataException("the receiver speaks something else");

    public static void WriteHeader(Span<byte> bytes, in FrameHeader header)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, header.Target.Id);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], header.Target.Generation);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[12..], header.Transfer);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[16..], header.Sequence);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[20..], header.Slot);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[24..], header.Offset);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[28..], header.Checksum);
        BinaryPrimitives.WriteInt32LittleEndian(bytes[32..], header.Bytes);
        bytes[36..HeaderBytes].Clear();
    }

    /// <exception cref="InvalidDataException">Its payload is longer than the receiver grants.</exception>
    public static FrameHeader ReadHeader(ReadOnlySpan<byte> bytes, int payloadBytesMax)
    {
        var payload = BinaryPrimitives.ReadInt32LittleEndian(bytes[32..]);
        return payload >= 0 && payload <= payloadBytesMax
            ? new FrameHeader(
                new ReservationId(
                    BinaryPrimitives.ReadUInt64LittleEndian(bytes),
                    BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..])),
                BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]),
                BinaryPrimitives.ReadUInt32LittleEndian(bytes[16..]),
                BinaryPrimitives.ReadUInt32LittleEndian(bytes[20..]),
                BinaryPrimitives.ReadUInt32LittleEndian(bytes[24..]),
                BinaryPrimitives.ReadUInt32LittleEndian(bytes[28..]), payload)
            : throw new InvalidDataException($"a frame of {payload} bytes; expected at most {payloadBytesMax}");
    }

    public static void WriteReply(Span<byte> bytes, in FrameReply reply)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, reply.Target.Id);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], reply.Target.Generation);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[12..], reply.Sequence);
        BinaryPrimitives.WriteInt32LittleEndian(bytes[16..], (int)reply.Outcome);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[20..], reply.CreditBytes);
        bytes[24..ReplyBytes].Clear();
    }

    public static FrameReply ReadReply(ReadOnlySpan<byte> bytes) => new(
        new ReservationId(
            BinaryPrimitives.ReadUInt64LittleEndian(bytes), BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..])),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]),
        (FrameOutcome)BinaryPrimitives.ReadInt32LittleEndian(bytes[16..]),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[20..]));

    /// <summary>Fills the buffer.</summary>
    /// <returns>False when the other side ended before the first byte.</returns>
    /// <exception cref="IOException">It ended in the middle.</exception>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public static async ValueTask<bool> TryReceiveAsync(
        Socket socket, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        for (var at = 0; at < buffer.Length;)
        {
            var read = await socket.ReceiveAsync(buffer[at..], SocketFlags.None, cancellationToken)
                .ConfigureAwait(false);
            if (read == 0)
            {
                return at == 0 ? false : throw new IOException("the other side ended within a message");
            }

            at += read;
        }

        return true;
    }
}
