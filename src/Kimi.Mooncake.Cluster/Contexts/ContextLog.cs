using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Cluster.Contexts;

internal static partial class ContextLog
{
    [LoggerMessage(EventId = 41, EventName = "ContextsOpened", Level = LogLevel.Information,
        Message = "{Contexts} contexts are kept in {Directory}")]
    public static partial void Opened(ILogger logger, int contexts, string directory);

    [LoggerMessage(EventId = 42, EventName = "ContextsDamaged", Level = LogLevel.Warning,
        Message = "Journal {Path} is damaged at {Offset}: {Bytes} bytes are not used any more, and kept in {Kept}")]
    public static partial void Damaged(ILogger logger, string path, long offset, long bytes, string kept);

    [LoggerMessage(EventId = 43, EventName = "ContextsBroken", Level = LogLevel.Error,
        Message = "Journal {Path} can be changed no more until the next start: {Reason}")]
    public static partial void Broken(ILogger logger, string path, string reason);

    [LoggerMessage(EventId = 44, EventName = "ContextsNotCompacted", Level = LogLevel.Warning,
        Message = "The journal of contexts in {Directory} goes on growing: {Reason}")]
    public static partial void NotCompacted(ILogger logger, string directory, string reason);
}
