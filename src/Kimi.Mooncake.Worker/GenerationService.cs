using Grpc.Core;
using Kimi.Mooncake.Cluster;
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
        using var span = RequestTrace.Continue(RequestTrace.Decode, context);
        span?.SetTag("request_id", request.RequestId);
        try
        {
            WorkerCalls.RequireModel(generator.Model, request.ModelFingerprint);
            var prompt = WorkerCalls.Read(() => GenerationMessages.ToRequest(request));
            await foreach (var next in generator.GenerateAsync(prompt, ended).ConfigureAwait(false))
            {
                await responseStream.WriteAsync(GenerationMessages.ToMessage(next), ended).ConfigureAwait(false);
            }
        }
        catch (Exception fault)
        {
            RequestTrace.Fail(span, fault);
            throw WorkerCalls.ToRpcException(fault, request.RequestId, logger, ended);
        }
    }
}
