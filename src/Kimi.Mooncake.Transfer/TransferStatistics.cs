namespace Kimi.Mooncake.Transfer;

/// <summary>Frames of one kind since the engine was made.</summary>
/// <param name="Transport">How they travelled.</param>
/// <param name="Priority">What they were for.</param>
/// <param name="Frames">Frames that were acknowledged as written.</param>
/// <param name="Bytes">Their payload.</param>
public readonly record struct TransferFlow(
    TransferTransport Transport, TransferPriority Priority, long Frames, long Bytes);

/// <summary>Counts of a transfer engine since it was made, and what is open now.</summary>
public sealed record TransferStatistics
{
    /// <summary>Frames that receivers acknowledged as written, by transport and priority; all combinations.</summary>
    public required IReadOnlyList<TransferFlow> Sent { get; init; }

    /// <summary>Frames written into this process, by gRPC; each sent again counts again.</summary>
    public required long ReceivedFramesGrpc { get; init; }

    /// <summary>Their payload in bytes.</summary>
    public required long ReceivedBytesGrpc { get; init; }

    /// <summary>Frames written into this process, by shared memory.</summary>
    public required long ReceivedFramesSharedMemory { get; init; }

    /// <summary>Their payload in bytes.</summary>
    public required long ReceivedBytesSharedMemory { get; init; }

    /// <summary>Frames written into this process, by TCP.</summary>
    public required long ReceivedFramesTcp { get; init; }

    /// <summary>Their payload in bytes.</summary>
    public required long ReceivedBytesTcp { get; init; }

    /// <summary>Frames that were sent again, after a lost connection or damage.</summary>
    public required long Retransmits { get; init; }

    /// <summary>Frames of this sender that arrived damaged.</summary>
    public required long CorruptSent { get; init; }

    /// <summary>Frames that arrived here damaged.</summary>
    public required long CorruptReceived { get; init; }

    /// <summary>Frames that arrived here for a reservation that was closed; nothing was written.</summary>
    public required long StaleReceived { get; init; }

    /// <summary>Frames that arrived here and lay outside their reservation; nothing was written.</summary>
    public required long OutOfRangeReceived { get; init; }

    /// <summary>Sessions that failed.</summary>
    public required long SessionsFailed { get; init; }

    /// <summary>Connections to receivers that were lost while in use.</summary>
    public required long ConnectionsLost { get; init; }

    /// <summary>Times that gRPC had to do because shared memory or TCP could not be had any more.</summary>
    public required long Fallbacks { get; init; }

    /// <summary>Open sessions.</summary>
    public required int Sessions { get; init; }

    /// <summary>Open reservations.</summary>
    public required int Reservations { get; init; }

    /// <summary>Connections of senders that are open.</summary>
    public required int ReceivingConnections { get; init; }
}
