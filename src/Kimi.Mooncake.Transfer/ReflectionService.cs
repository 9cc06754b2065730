using Google.Protobuf.Reflection;
using Grpc.Core;
using Grpc.Reflection.V1;

namespace Kimi.Mooncake.Transfer;

/// <summary>The standard reflection service: what a server serves, for clients that have no contracts of it.</summary>
/// <param name="services">The services of the server, this one among them.</param>
public sealed class ReflectionService(IReadOnlyCollection<ServiceDescriptor> services)
    : ServerReflection.ServerReflectionBase
{
    private readonly ReflectionIndex _index = new(services);

    /// <inheritdoc />
    public override async Task ServerReflectionInfo(
        IAsyncStreamReader<ServerReflectionRequest> requestStream,
        IServerStreamWriter<ServerReflectionResponse> responseStream, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(requestStream);
        ArgumentNullException.ThrowIfNull(responseStream);
        ArgumentNullException.ThrowIfNull(context);
        var sent = new HashSet<string>();
        while (await requestStream.MoveNext(context.CancellationToken).ConfigureAwait(false))
        {
            await responseStream.WriteAsync(_index.Answer(requestStream.Current, sent), context.CancellationToken)
                .ConfigureAwait(false);
        }
    }
}
