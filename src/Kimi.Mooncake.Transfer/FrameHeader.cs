namespace Kimi.Mooncake.Transfer;

/// <summary>What the receiver says of a frame; the numbers are those of the contract.</summary>
internal enum FrameOutcome
{
    /// <summary>Nothing; only credit.</summary>
    None = 0,
    Written = 1,
    Stale = 2,
    Corrupt = 3,
    OutOfRange = 4,
}

/// <summary>A frame without its payload.</summary>
internal readonly record struct FrameHeader(
    ReservationId Target, uint Sequence, uint Slot, uint Offset, uint Checksum, int Bytes);

/// <summary>The answer to a frame.</summary>
internal readonly record struct FrameReply(
    ReservationId Target, uint Sequence, FrameOutcome Outcome, uint CreditBytes);
