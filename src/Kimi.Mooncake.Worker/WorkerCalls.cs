using Grpc.Core;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Worker;

/// <summary>What the worker's services have in common: checks, and failures as the status of a call.</summary>
internal static class WorkerCalls
{
    /// <summary>Refuses tokens of another model; an empty fingerprint is not checked.</summary>
    public static void RequireModel(ModelCard model, string fingerprint)
    {
        if (fingerprint.Length > 0 && fingerprint != model.Fingerprint)
        {
            throw new RpcException(new Status(
                StatusCode.FailedPrecondition,
                $"the tokens belong to the model {fingerprint}, this worker serves {model.Fingerprint}"));
        }
    }

    /// <summary>Refuses KV of another layout; an empty text is not checked.</summary>
    public static void RequireLayout(ModelCard model, string layout)
    {
        var own = model.KvLayout.Describe();
        if (layout.Length > 0 && layout != own)
        {
            throw new RpcException(new Status(
                StatusCode.FailedPrecondition,
                $"the caller's KV layout is {layout}, this worker's {own}; worker.kv_type and worker.block_tokens "
                + "must be the same on both"));
        }
    }

    /// <summary>Reads a message; what is out of its range is the caller's fault.</summary>
    public static T Read<T>(Func<T> read)
    {
        try
        {
            return read();
        }
        catch (InvalidDataException fault)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, fault.Message));
        }
    }

    /// <summary>What is thrown for whatever ended a call.</summary>
    /// <param name="fault">What was thrown.</param>
    /// <param name="requestId">Name of the request, for the log.</param>
    /// <param name="logger">Takes what nobody expects.</param>
    /// <param name="ended">The call's own end.</param>
    public static RpcException ToRpcException(
        Exception fault, string requestId, ILogger logger, CancellationToken ended)
    {
        if (WorkerMessages.RefusalOf(fault) is { } refusal)
        {
            return refusal;
        }

        if (fault is ArgumentException)
        {
            return new RpcException(new Status(StatusCode.InvalidArgument, fault.Message));
        }

        if (ended.IsCancellationRequested)
        {
            // Whatever a closed connection throws: the work has been given up, and nobody is left to be told.
            return new RpcException(new Status(StatusCode.Cancelled, "the call was ended"));
        }

        if (fault is RpcException known)
        {
            return known;
        }

        WorkerLog.CallFailed(logger, requestId, fault);
        return new RpcException(new Status(StatusCode.Internal, $"the generation failed: {fault.Message}"));
    }
}
