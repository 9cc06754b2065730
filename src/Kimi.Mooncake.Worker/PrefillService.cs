using Grpc.Core;
using Kimi.Mooncake.Protocol;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Worker;

/// <summary>
/// Prefills for other workers. A prefill that fails is not tried again here: whoever routed the request knows better
/// where.
/// </summary>
/// <param name="worker">Computes; owned by the caller.</param>
/// <param name="logger">Takes what an operator should know.</param>
public sealed class PrefillService(KimiWorker worker, ILogger<PrefillService> logger) : Wire.Prefill.PrefillBase
{
    /// <inheritdoc />
    public override async Task Prefill(
        Wire.PrefillRequest request, IServerStreamWriter<Wire.PrefillEvent> responseStream, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(responseStream);
        ArgumentNullException.ThrowIfNull(context);
        var ended = context.CancellationToken;
        using var span = RequestTrace.Continue(RequestTrace.Prefill, context);
        span?.SetTag("request_id", request.Request?.RequestId);
        try
        {
            WorkerCalls.RequireModel(worker.Model, request.Request?.ModelFingerprint ?? "");
            WorkerCalls.RequireLayout(worker.Model, request.KvLayout);
            var blockTokens = worker.Model.KvLayout.BlockTokens;
            var order = WorkerCalls.Read(() => PrefillMessages.ToOrder(request, blockTokens));
            var export = await worker.BeginExportAsync(order, ended).ConfigureAwait(false);
            await using (export.ConfigureAwait(false))
            {
                await HandOverAsync(export, responseStream, ended).ConfigureAwait(false);
            }
        }
        catch (TransferException fault) when (!ended.IsCancellationRequested)
        {
            RequestTrace.Fail(span, fault);
            WorkerLog.HandOverFailed(logger, request.Request?.RequestId ?? "", request.DestinationAddress, fault);
            throw new RpcException(StatusOf(fault, request.DestinationAddress));
        }
        catch (Exception fault)
        {
            RequestTrace.Fail(span, fault);
            throw WorkerCalls.ToRpcException(fault, request.Request?.RequestId ?? "", logger, ended);
        }
    }

    private async Task HandOverAsync(
        PrefillExport export, IServerStreamWriter<Wire.PrefillEvent> responseStream, CancellationToken ended)
    {
        var prompt = await export.ComputeAsync(
            progress => responseStream.WriteAsync(PrefillMessages.ToMessage(progress), ended)).ConfigureAwait(false);
        var flushing = export.FlushAsync();
        await responseStream.WriteAsync(PrefillMessages.ToMessage(prompt), ended).ConfigureAwait(false);
        var times = await flushing.ConfigureAwait(false);
        worker.HandOvers.Exported(times);
        RequestTrace.Add(
            RequestTrace.HandOver, times.Total,
            ("bytes", times.Bytes), ("tail_us", (long)times.Tail.TotalMicroseconds));
        var handedOver = new Wire.HandedOver
        {
            Bytes = (ulong)times.Bytes,
            TailMicroseconds = (ulong)times.Tail.TotalMicroseconds,
            TotalMicroseconds = (ulong)times.Total.TotalMicroseconds,
        };
        await responseStream.WriteAsync(new Wire.PrefillEvent { HandedOver = handedOver }, ended).ConfigureAwait(false);
    }

    private static Status StatusOf(TransferException fault, string destination) => new(
        fault.Reason switch
        {
            TransferFailure.Unreachable or TransferFailure.Stalled => StatusCode.Unavailable,
            TransferFailure.Stale => StatusCode.FailedPrecondition,
            TransferFailure.Cancelled => StatusCode.Cancelled,
            _ => StatusCode.Internal,
        },
        $"hand-over to {destination}: {fault.Reason}, {fault.Message}");
}
