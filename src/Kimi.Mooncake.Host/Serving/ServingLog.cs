using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Host.Serving;

internal static partial class ServingLog
{
    [LoggerMessage(EventId = 1, EventName = "StoreOff", Level = LogLevel.Information,
        Message = "The KV store is off: store.directory is empty; cached blocks are lost at the end of the process")]
    public static partial void StoreOff(ILogger logger);

    [LoggerMessage(EventId = 2, EventName = "ChatOff", Level = LogLevel.Warning,
        Message = "The chat endpoint is off: {Reason}")]
    public static partial void ChatOff(ILogger logger, string reason);
}
