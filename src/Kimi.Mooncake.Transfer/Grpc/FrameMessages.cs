using System.Buffers;
using Grpc.Core;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// The message <c>Frame</c> on the receiver's side: by the time it exists the payload has been checked and written. One
/// object serves a whole stream.
/// </summary>
public sealed class IncomingFrame
{
    // Deserializers belong to the method, not to the call; the call's own receiver comes with the execution context.
    private static readonly AsyncLocal<IncomingFrame?> Current = new();

    private readonly ReservationTable _reservations;

    internal IncomingFrame(ReservationTable reservations) => _reservations = reservations;

    internal static Marshaller<IncomingFrame> Marshaller { get; } = new(
        static (_, _) => throw new NotSupportedException("a received frame is not sent"),
        static context => (Current.Value
            ?? throw new InvalidOperationException("a frame came outside of a call")).Take(context));

    internal FrameHeader Header { get; private set; }

    internal FrameOutcome Outcome { get; private set; }

    /// <summary>Makes this object take the frames of the calling method's execution context.</summary>
    internal void Enter() => Current.Value = this;

    private IncomingFrame Take(DeserializationContext context)
    {
        var message = context.PayloadAsReadOnlySequence();
        FrameWire.ReadFrame(message, out var header, out var payload);
        Outcome = _reservations.Write(TransferTransport.Grpc, header, payload);
        Header = header;
        return this;
    }
}

/// <summary>The message <c>FrameReply</c>; one object serves a whole stream.</summary>
public sealed class FrameReplyMessage
{
    internal static Marshaller<FrameReplyMessage> ServerMarshaller { get; } = new(
        static (message, context) => message.WriteTo(context),
        static _ => throw new NotSupportedException("a server receives no replies"));

    internal FrameReply Reply { get; set; }

    internal Marshaller<FrameReplyMessage> ClientMarshaller() => new(
        static (_, _) => throw new NotSupportedException("a client sends no replies"),
        context =>
        {
            Reply = FrameWire.ReadReply(context.PayloadAsReadOnlySequence());
            return this;
        });

    private void WriteTo(SerializationContext context)
    {
        Span<byte> bytes = stackalloc byte[FrameWire.ReplyBytesMax];
        var length = FrameWire.WriteReply(Reply, bytes);
        context.SetPayloadLength(length);
        context.GetBufferWriter().Write(bytes[..length]);
        context.Complete();
    }
}

/// <summary>The message <c>Frame</c> on the sender's side; one object serves a whole connection.</summary>
internal sealed class OutgoingFrame
{
    public static Marshaller<OutgoingFrame> Marshaller { get; } = new(
        static (message, context) => message.WriteTo(context),
        static _ => throw new NotSupportedException("a sender receives no frames"));

    public FrameHeader Header { get; set; }

    public nint Source { get; set; }

    public bool IsDamaged { get; set; }

    /// <summary>Whether the source has been copied and is not read again.</summary>
    public bool IsWritten { get; set; }

    private unsafe void WriteTo(SerializationContext context)
    {
        var header = Header;
        var length = FrameWire.FrameBytes(header.Bytes);
        context.SetPayloadLength(length);
        var writer = context.GetBufferWriter();
        FrameWire.WriteFrame(
            header, new ReadOnlySpan<byte>((void*)Source, header.Bytes), writer.GetSpan(length)[..length], IsDamaged);
        writer.Advance(length);
        context.Complete();
        IsWritten = true;
    }
}
