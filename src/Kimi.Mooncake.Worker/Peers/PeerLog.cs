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
}
