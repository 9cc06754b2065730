using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Transfer;

internal static partial class TransferLog
{
    [LoggerMessage(EventId = 1, EventName = "TransferConnectionLost", Level = LogLevel.Warning,
        Message = "A connection for KV to {Address} failed: {Cause}")]
    public static partial void ConnectionLost(ILogger logger, string address, string cause);

    [LoggerMessage(EventId = 2, EventName = "TransferFailed", Level = LogLevel.Warning,
        Message = "{Reason}: {What}")]
    public static partial void SessionFailed(ILogger logger, TransferFailure reason, string what);

    [LoggerMessage(EventId = 3, EventName = "FrameCorrupt", Level = LogLevel.Warning,
        Message = "Frame {Sequence} arrived damaged at {Address} and is sent again")]
    public static partial void CorruptFrame(ILogger logger, string address, uint sequence);

    [LoggerMessage(EventId = 4, EventName = "TransferFallback", Level = LogLevel.Warning,
        Message = "Going on with gRPC towards {Address}: {Reason}")]
    public static partial void FallBack(ILogger logger, string address, string reason);

    [LoggerMessage(EventId = 5, EventName = "TransferFaultsOn", Level = LogLevel.Warning,
        Message = "Faults on purpose, 0 is never: one in {Corrupt} frames damaged, one in {Drop} connections dropped")]
    public static partial void FaultsOn(ILogger logger, int corrupt, int drop);

    [LoggerMessage(EventId = 6, EventName = "SharedMemoryOff", Level = LogLevel.Warning,
        Message = "Shared memory cannot be offered, senders use gRPC: {Reason}")]
    public static partial void SharedMemoryOff(ILogger logger, string reason);

    [LoggerMessage(EventId = 7, EventName = "TransferSenderLost", Level = LogLevel.Information,
        Message = "A sender of KV is gone: {Reason}")]
    public static partial void SenderLost(ILogger logger, string reason);

    [LoggerMessage(EventId = 8, EventName = "SharedMemoryOfOther", Level = LogLevel.Warning,
        Message = "A process of user {UserId} offered shared memory and was refused")]
    public static partial void SharedMemoryOfOther(ILogger logger, uint userId);

    [LoggerMessage(EventId = 9, EventName = "TransferListenerFailed", Level = LogLevel.Error,
        Message = "Senders of KV are not listened to any more: {Reason}")]
    public static partial void ListenerFailed(ILogger logger, string reason);
}
