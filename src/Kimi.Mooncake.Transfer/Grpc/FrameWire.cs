using System.Buffers;
using System.Buffers.Binary;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// The messages <c>Frame</c> and <c>FrameReply</c> of the contract as bytes. Fields are always written, all
/// of them, the payload last; they are read in any order, and unknown ones are skipped, as protobuf has it.
/// </summary>
internal static class FrameWire
{
    private const byte ReservationTag = (1 << 3) | Fixed64;
    private const byte GenerationTag = (2 << 3) | Fixed32;
    private const byte SequenceTag = (3 << 3) | Fixed32;
    private const byte SlotTag = (4 << 3) | Fixed32;
    private const byte OffsetTag = (5 << 3) | Fixed32;
    private const byte ChecksumTag = (6 << 3) | Fixed32;
    private const byte PayloadTag = (7 << 3) | Delimited;
    private const byte TransferTag = (8 << 3) | Fixed32;
    private const byte OutcomeTag = (4 << 3) | Varint;
    private const byte CreditTag = (5 << 3) | Varint;

    private const int Varint = 0;
    private const int Fixed64 = 1;
    private const int Delimited = 2;
    private const int Fixed32 = 5;

    private const int VarintBytesMax = 10;
    private const int FixedFieldsBytes = 9 + (6 * 5);

    /// <summary>Largest reply.</summary>
    public const int ReplyBytesMax = 9 + 5 + 5 + 2 + 6;

    /// <summary>Bytes of a frame with that much payload.</summary>
    public static int FrameBytes(int payloadBytes) =>
        FixedFieldsBytes + 1 + VarintBytes((uint)payloadBytes) + payloadBytes;

    /// <summary>Writes a frame, and copies its payload on the way.</summary>
    /// <param name="header">The frame; its checksum is not read but made.</param>
    /// <param name="payload">As many bytes as the header says.</param>
    /// <param name="frame">As many bytes as <see cref="FrameBytes"/> says.</param>
    /// <param name="isDamaged">Changes a byte after the checksum was made.</param>
    public static void WriteFrame(
        in FrameHeader header, ReadOnlySpan<byte> payload, Span<byte> frame, bool isDamaged)
    {
        frame[0] = ReservationTag;
        BinaryPrimitives.WriteUInt64LittleEndian(frame[1..], header.Target.Id);
        var at = 9;
        at += WriteFixed32(frame[at..], GenerationTag, header.Target.Generation);
        at += WriteFixed32(frame[at..], TransferTag, header.Transfer);
        at += WriteFixed32(frame[at..], SequenceTag, header.Sequence);
        at += WriteFixed32(frame[at..], SlotTag, header.Slot);
        at += WriteFixed32(frame[at..], OffsetTag, header.Offset);
        var checksumAt = at;
        at += WriteFixed32(frame[at..], ChecksumTag, 0);
        frame[at++] = PayloadTag;
        at += WriteVarint(frame[at..], (uint)payload.Length);
        var checksum = Crc32C.Finish(Crc32C.Copy(Crc32C.Start, payload, frame[at..]));
        WriteFixed32(frame[checksumAt..], ChecksumTag, checksum);
        if (isDamaged && payload.Length > 0)
        {
            frame[at + (payload.Length / 2)] ^= 1;
        }
    }

    /// <summary>Reads a frame.</summary>
    /// <param name="message">The whole message.</param>
    /// <param name="header">What it says.</param>
    /// <param name="payload">Its payload, within the message.</param>
    /// <exception cref="InvalidDataException">It is no message of protobuf.</exception>
    public static void ReadFrame(
        in ReadOnlySequence<byte> message, out FrameHeader header, out ReadOnlySequence<byte> payload)
    {
        var reader = new SequenceReader<byte>(message);
        ulong reservation = 0;
        uint generation = 0, transfer = 0, sequence = 0, slot = 0, offset = 0, checksum = 0;
        payload = ReadOnlySequence<byte>.Empty;
        while (!reader.End)
        {
            var tag = ReadVarint(ref reader);
            switch (tag)
            {
                case ReservationTag:
                    reservation = ReadFixed64(ref reader);
                    break;
                case GenerationTag:
                    generation = ReadFixed32(ref reader);
                    break;
                case SequenceTag:
                    sequence = ReadFixed32(ref reader);
                    break;
                case TransferTag:
                    transfer = ReadFixed32(ref reader);
                    break;
                case SlotTag:
                    slot = ReadFixed32(ref reader);
                    break;
                case OffsetTag:
                    offset = ReadFixed32(ref reader);
                    break;
                case ChecksumTag:
                    checksum = ReadFixed32(ref reader);
                    break;
                case PayloadTag:
                    payload = ReadDelimited(ref reader);
                    break;
                default:
                    Skip(ref reader, tag);
                    break;
            }
        }

        header = new FrameHeader(
            new ReservationId(reservation, generation), transfer, sequence, slot, offset, checksum,
            (int)payload.Length);
    }

    /// <summary>Writes a reply.</summary>
    /// <returns>Its length.</returns>
    public static int WriteReply(in FrameReply reply, Span<byte> message)
    {
        message[0] = ReservationTag;
        BinaryPrimitives.WriteUInt64LittleEndian(message[1..], reply.Target.Id);
        var at = 9;
        at += WriteFixed32(message[at..], GenerationTag, reply.Target.Generation);
        at += WriteFixed32(message[at..], SequenceTag, reply.Sequence);
        message[at++] = OutcomeTag;
        message[at++] = (byte)reply.Outcome;
        message[at++] = CreditTag;
        return at + WriteVarint(message[at..], reply.CreditBytes);
    }

    /// <summary>Reads a reply.</summary>
    /// <exception cref="InvalidDataException">It is no message of protobuf.</exception>
    public static FrameReply ReadReply(in ReadOnlySequence<byte> message)
    {
        var reader = new SequenceReader<byte>(message);
        ulong reservation = 0;
        uint generation = 0, sequence = 0;
        ulong outcome = 0, credit = 0;
        while (!reader.End)
        {
            var tag = ReadVarint(ref reader);
            switch (tag)
            {
                case ReservationTag:
                    reservation = ReadFixed64(ref reader);
                    break;
                case GenerationTag:
                    generation = ReadFixed32(ref reader);
                    break;
                case SequenceTag:
                    sequence = ReadFixed32(ref reader);
                    break;
                case OutcomeTag:
                    outcome = ReadVarint(ref reader);
                    break;
                case CreditTag:
                    credit = ReadVarint(ref reader);
                    break;
                default:
                    Skip(ref reader, tag);
                    break;
            }
        }

        return new FrameReply(
            new ReservationId(reservation, generation), sequence, (FrameOutcome)(int)outcome, (uint)credit);
    }

    private static int WriteFixed32(Span<byte> bytes, byte tag, uint value)
    {
        bytes[0] = tag;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[1..], value);
        return 1 + sizeof(uint);
    }

    private static int WriteVarint(Span<byte> bytes, uint value)
    {
        var at = 0;
        for (; value >= 0x80; value >>= 7)
        {
            bytes[at++] = (byte)(value | 0x80);
        }

        bytes[at] = (byte)value;
        return at + 1;
    }

    private static int VarintBytes(uint value)
    {
        var bytes = 1;
        for (; value >= 0x80; value >>= 7)
        {
            bytes++;
        }

        return bytes;
    }

    private static ulong ReadVarint(ref SequenceReader<byte> reader)
    {
        ulong value = 0;
        for (var i = 0; i < VarintBytesMax; i++)
        {
            if (!reader.TryRead(out var part))
            {
                throw Truncated();
            }

            value |= (ulong)(part & 0x7F) << (7 * i);
            if (part < 0x80)
            {
                return value;
            }
        }

        throw new InvalidDataException("a frame has a number of more than ten bytes");
    }

    private static uint ReadFixed32(ref SequenceReader<byte> reader) =>
        reader.TryReadLittleEndian(out int value) ? (uint)value : throw Truncated();

    private static ulong ReadFixed64(ref SequenceReader<byte> reader) =>
        reader.TryReadLittleEndian(out long value) ? (ulong)value : throw Truncated();

    private static ReadOnlySequence<byte> ReadDelimited(ref SequenceReader<byte> reader)
    {
        var length = ReadVarint(ref reader);
        if (length > (ulong)reader.Remaining)
        {
            throw Truncated();
        }

        var bytes = reader.UnreadSequence.Slice(0, (long)length);
        reader.Advance((long)length);
        return bytes;
    }

    private static void Skip(ref SequenceReader<byte> reader, ulong tag)
    {
        switch (tag & 7)
        {
            case Varint:
                ReadVarint(ref reader);
                break;
            case Fixed64:
                ReadFixed64(ref reader);
                break;
            case Delimited:
                ReadDelimited(ref reader);
                break;
            case Fixed32:
                ReadFixed32(ref reader);
                break;
            default:
                throw new InvalidDataException($"a frame has a field of the unknown wire type {tag & 7}");
        }
    }

    private static InvalidDataException Truncated() => new("a frame ends within a field");
}
