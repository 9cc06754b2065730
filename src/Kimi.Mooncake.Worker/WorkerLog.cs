using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Worker;

internal static partial class WorkerLog
{
    [LoggerMessage(EventId = 1, EventName = "WorkerStarted", Level = LogLevel.Information,
        Message = "Model {ModelId}: {Blocks} blocks of {BlockTokens} tokens, kernels {Kernels}, {Threads} threads")]
    public static partial void Started(
        ILogger logger, string modelId, int blocks, int blockTokens, string kernels, int threads);

    [LoggerMessage(EventId = 2, EventName = "EngineStopped", Level = LogLevel.Critical,
        Message = "The engine cannot go on; every request fails from now on")]
    public static partial void EngineFailed(ILogger logger, Exception exception);

    [LoggerMessage(EventId = 3, EventName = "RequestFailed", Level = LogLevel.Error,
        Message = "Request {RequestId} failed: {Reason}")]
    public static partial void RequestFailed(ILogger logger, string requestId, string? reason);

    [LoggerMessage(EventId = 4, EventName = "CallFailed", Level = LogLevel.Error,
        Message = "The call of request {RequestId} failed")]
    public static partial void CallFailed(ILogger logger, string requestId, Exception exception);

    [LoggerMessage(EventId = 5, EventName = "HandOverFailed", Level = LogLevel.Warning,
        Message = "Request {RequestId}: its prompt could not be handed over to {Destination}")]
    public static partial void HandOverFailed(
        ILogger logger, string requestId, string destination, Exception exception);
}
