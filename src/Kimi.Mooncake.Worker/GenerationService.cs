using Grpc.Core;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Protocol;
using Microsoft.Extensions.Logging;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Worker;

/// <summary>
/// A generator for other processes. An event is taken from it when the one before has been handed to the connection;
/// the end of the call, by the client or its deadline, cancels the generation.
/// </summary>
/// <param name="generator">Continues prompts; owned by the caller.</param>
/// <param name="logger">Takes what an operator should know.</param>
public sealed class GenerationService(ITokenGenerator generator, ILogger<GenerationService> logger)
    : Wire.Generation.GenerationBase
{
    /// <inheritdoc />
    public override Task<Wire.DescribeResponse> Describe(Wire.DescribeRequest request, ServerCallContext context) =>
        Task.FromResult(ModelMessages.ToMessage(generator.Model));

    /// <inheritdoc />
    public override Task<Wire.GetStatusResponse> GetStatus(Wire.GetStatusRequest request, ServerCallContext context) =>
        Task.FromResult(WorkerMessages.ToMessage(generator.Status()));

    /// <inheritdoc />
    public override async Task Generate(
        Wire.GenerateRequest request, IServerStreamWriter<Wire.GenerateEvent> responseStream,
        ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(responseStream);
        ArgumentNullException.ThrowIfNull(context);
        var ended = context.CancellationToken;
        try
        {
            RequireModel(request.ModelFingerprint);
            await foreach (var next in generator.GenerateAsync(Read(request), ended).ConfigureAwait(false))
            {
                await responseStream.WriteAsync(GenerationMessages.ToMessage(next), ended).ConfigureAwait(false);
            }
        }
        catch (ArgumentException fault)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, fault.Message));
        }
        catch (QueueFullException refusal)
        {
            throw WorkerMessages.ToRpcException(refusal);
        }
        catch (PromptTooLongException refusal)
        {
            throw WorkerMessages.ToRpcException(refusal);
        }
        catch (Exception) when (ended.IsCancellationRequested)
        {
            // Whatever a closed connection throws: the generation has been disposed, and nobody is left to be told.
            throw new RpcException(new Status(StatusCode.Cancelled, "the call was ended"));
        }
        catch (Exception fault) when (fault is not RpcException)
        {
            WorkerLog.CallFailed(logger, request.RequestId, fault);
            throw new RpcException(new Status(StatusCode.Internal, $"the generation failed: {fault.Message}"));
        }
    }

    private static GenerationRequest Read(Wire.GenerateRequest message)
    {
        try
        {
            return GenerationMessages.ToRequest(message);
        }
        catch (InvalidDataException fault)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, fault.Message));
        }
    }

    private void RequireModel(string fingerprint)
    {
        if (fingerprint.Length > 0 && fingerprint != generator.Model.Fingerprint)
        {
            throw new RpcException(new Status(
                StatusCode.FailedPrecondition,
                $"the tokens belong to the model {fingerprint}, this worker serves {generator.Model.Fingerprint}"));
        }
    }
}
