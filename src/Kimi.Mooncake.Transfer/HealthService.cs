using Grpc.Core;
using Grpc.Health.V1;
using ServingStatus = Grpc.Health.V1.HealthCheckResponse.Types.ServingStatus;

namespace Kimi.Mooncake.Transfer;

/// <summary>The standard health service: whether a process takes requests.</summary>
/// <param name="isReady">Whether it does, for all its services alike.</param>
/// <param name="services">Full names of the services that may be asked about.</param>
/// <param name="time">Clock.</param>
public sealed class HealthService(Func<bool> isReady, IReadOnlyCollection<string> services, TimeProvider time)
    : Health.HealthBase
{
    private static readonly TimeSpan WatchInterval = TimeSpan.FromMilliseconds(250);

    /// <inheritdoc />
    public override Task<HealthCheckResponse> Check(HealthCheckRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        return IsKnown(request.Service)
            ? Task.FromResult(new HealthCheckResponse { Status = Now() })
            : throw new RpcException(new Status(
                StatusCode.NotFound,
                $"service '{request.Service}' is not here; known are {string.Join(", ", services)}"));
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

    private bool IsKnown(string service) => service.Length == 0 || services.Contains(service);

    private ServingStatus Now() => isReady() ? ServingStatus.Serving : ServingStatus.NotServing;
}
