namespace Kimi.Mooncake.Transfer;

/// <summary>Why a transfer failed.</summary>
public enum TransferFailure
{
    /// <summary>The receiver could not be connected to for as long as the options allow.</summary>
    Unreachable,

    /// <summary>The receiver closed the reservation, or it belongs to another generation.</summary>
    Stale,

    /// <summary>Slot, offset or length lie outside the reservation.</summary>
    OutOfRange,

    /// <summary>Connected, but nothing was acknowledged for as long as the options allow.</summary>
    Stalled,

    /// <summary>A frame arrived damaged more often than the options allow.</summary>
    Corrupt,

    /// <summary>The session or the engine was disposed.</summary>
    Cancelled,
}

/// <summary>A transfer failed; what has arrived of it is undefined.</summary>
/// <param name="reason">Why.</param>
/// <param name="message">What happened, with the receiver's address.</param>
/// <param name="inner">The cause, where an exception was one.</param>
public sealed class TransferException(TransferFailure reason, string message, Exception? inner = null)
    : Exception(message, inner)
{
    /// <summary>Why it failed.</summary>
    public TransferFailure Reason { get; } = reason;
}
