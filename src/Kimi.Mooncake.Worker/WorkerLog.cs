using Kimi.Mooncake.Kernels.Cpu;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Worker;

internal static partial class WorkerLog
{
    [LoggerMessage(EventId = 1, EventName = "WorkerStarted", Level = LogLevel.Information,
        Message = "Model {ModelId}: {Blocks} blocks of {BlockTokens} tokens, kernels {Kernels}, {Threads} threads")]
    public static partial void Started(
        ILogger logger, string modelId, int blocks, int blockTokens, string kernels, int threads);

    [LoggerMessage(EventId = 9, EventName = "WorkerMachine", Level = LogLevel.Information,
        Message = "{Processor} with {Features}; arithmetic {Arithmetic}, instructions {Instructions}; huge pages "
            + "{HugePages}; {MappedBytes} bytes mapped, {ResidentBytes} resident, {AnonymousBytes} of no file")]
    public static partial void Machine(
        ILogger logger,
        string processor,
        string features,
        CpuArithmetic arithmetic,
        string instructions,
        string hugePages,
        long mappedBytes,
        long? residentBytes,
        long? anonymousBytes);

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

    [LoggerMessage(EventId = 6, EventName = "ModelLoading", Level = LogLevel.Information,
        Message = "Model {ModelId}: {Layers} of {LayersAll} layers loaded, {Bytes} bytes of weights")]
    public static partial void Loading(ILogger logger, string modelId, int layers, int layersAll, long bytes);

    [LoggerMessage(EventId = 7, EventName = "ModelLoaded", Level = LogLevel.Information,
        Message = "Model {ModelId}: {Tensors} tensors, {Bytes} bytes of weights, loaded in {Seconds:0.00} s")]
    public static partial void Loaded(ILogger logger, string modelId, int tensors, long bytes, double seconds);

    [LoggerMessage(EventId = 8, EventName = "ModelNote", Level = LogLevel.Information, Message = "{Note}")]
    public static partial void ModelNote(ILogger logger, string note);
}
