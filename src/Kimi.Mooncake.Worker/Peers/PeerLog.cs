using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Worker.Peers;

internal static partial class PeerLog
{
    [LoggerMessage(EventId = 21, EventName = "PeerLeftAlone", Level = LogLevel.Warning,
        Message = "{Address} is not asked for blocks for {PauseMs} ms: {Reason}")]
    public static partial void LeftAlone(ILogger logger, string address, int pauseMs, string reason);

    [LoggerMessage(EventId = 22, EventName = "PeerBack", Level = LogLevel.Information,
        Message = "{Address} answers again")]
    public static partial void Back(ILogger logger, string address);

    [LoggerMessage(EventId = 23, EventName = "NotCopied", Level = LogLevel.Warning,
        Message = "Blocks could not be copied to the store node {Address}: {Reason}")]
    public static partial void NotCopied(ILogger logger, string address, string reason);

    [LoggerMessage(EventId = 24, EventName = "KeysUntold", Level = LogLevel.Warning,
        Message = "The store has more than {KeysMax} blocks; the conductor is not told of further ones")]
    public static partial void KeysUntold(ILogger logger, int keysMax);
}
