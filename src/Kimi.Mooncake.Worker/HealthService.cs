using Grpc.Core;
using Grpc.Health.V1;
using Kimi.Mooncake.Cluster;
using ServingStatus = Grpc.Health.V1.HealthCheckResponse.Types.ServingStatus;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Worker;

/// <summary>The standard health service: whether a generator takes requests.</summary>
/// <param name="generator">Whose state it is.</param>
/// <param name="time">Clock.</param>
public sealed class HealthService(ITokenGenerator generator, TimeProvider time) : Health.HealthBase
{
    private static readonly TimeSpan WatchInterval = TimeSpan.FromMilliseconds(250);

    /// <inheritdoc />
    public override Task<HealthCheckResponse> Check(HealthCheckRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        return IsKnown(request.Service)
            ? Task.FromResult(new HealthCheckResponse { Status = Now() })
            : throw new RpcException(new Status(
                StatusCode.NotFound, $"service '{request.Service}' is not here; known is {Name}"));
    }

    /// <inheritdoc />
    public override async Task Watch(
        HealthCheckRequest request, IServerStreamWriter<HealthCheckResponse> responseStream, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(responseStream);
        ArgumentNullException.ThrowIfNull(context);
        using var timer = new PeriodicTimer(WatchInterval, time);
        var isKnown = IsKnown(request.Service);
        ServingStatus? told = null;
        try
        {
            do
            {
                var now = isKnown ? Now() : ServingStatus.ServiceUnknown;
                if (now != told)
                {
                    told = now;
                    await responseStream.WriteAsync(new HealthCheckResponse { Status = now }, context.CancellationToken)
                        .ConfigureAwait(false);
                }
            }
            while (await timer.WaitForNextTickAsync(context.CancellationToken).ConfigureAwait(false));
        }
        catch (OperationCanceledException) when (context.CancellationToken.IsCancellationRequested)
        {
            throw new RpcException(new Status(StatusCode.Cancelled, "the call was ended"));
        }
    }

    private static string Name => Wire.Generation.Descriptor.FullName;

    private static bool IsKnown(string service) => service.Length == 0 || service == Name;

    private ServingStatus Now() => generator.Status().Ready ? ServingStatus.Serving : ServingStatus.NotServing;
}
