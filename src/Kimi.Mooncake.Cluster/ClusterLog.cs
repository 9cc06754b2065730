using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Cluster;

internal static partial class ClusterLog
{
    [LoggerMessage(EventId = 1, EventName = "WorkerReady", Level = LogLevel.Information,
        Message = "Worker {Address} is ready")]
    public static partial void WorkerReady(ILogger logger, string address);

    [LoggerMessage(EventId = 2, EventName = "WorkerAway", Level = LogLevel.Warning,
        Message = "No request can be served: {Reason}")]
    public static partial void WorkerAway(ILogger logger, string reason);

    [LoggerMessage(EventId = 3, EventName = "WatchEnded", Level = LogLevel.Debug,
        Message = "Worker {Address} is not watched any more")]
    public static partial void WatchEnded(ILogger logger, string address);
}
