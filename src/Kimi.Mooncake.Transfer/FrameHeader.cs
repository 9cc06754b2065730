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
/// <param name="Target">Where it goes.</param>
/// <param name="Transfer">Names the transfer that it belongs to.</param>
/// <param name="Sequence">Its number in the transfer.</param>
/// <param name="Slot">Slot of the reservation.</param>
/// <param name="Offset">Offset in the slot, in bytes.</param>
/// <param name="Checksum">CRC-32C of the payload.</param>
/// <param name="Bytes">Length of the payload.</param>
internal readonly record struct FrameHeader(
    ReservationId Target, uint Transfer, uint Sequence, uint Slot, uint Offset, uint Checksum, int Bytes);

/// <summary>The answer to a frame.</summary>
internal readonly record struct FrameReply(
    ReservationId Target, uint Sequence, FrameOutcome Outcome, uint CreditBytes);
