using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Alpha = Grpc.Reflection.V1Alpha;
using Current = Grpc.Reflection.V1;

namespace Kimi.Mooncake.Transfer;

/// <summary>The reflection service under its older name; its messages are the same on the wire.</summary>
/// <param name="services">The services of the server, this one among them.</param>
public sealed class ReflectionAlphaService(IReadOnlyCollection<ServiceDescriptor> services)
    : Alpha.ServerReflection.ServerReflectionBase
{
    private readonly ReflectionIndex _index = new(services);

    /// <inheritdoc />
    public override async Task ServerReflectionInfo(
        IAsyncStreamReader<Alpha.ServerReflectionRequest> requestStream,
        IServerStreamWriter<Alpha.ServerReflectionResponse> responseStream, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(requestStream);
        ArgumentNullException.ThrowIfNull(responseStream);
        ArgumentNullException.ThrowIfNull(context);
        var sent = new HashSet<string>();
        while (await requestStream.MoveNext(context.CancellationToken).ConfigureAwait(false))
        {
            var request = Current.ServerReflectionRequest.Parser.ParseFrom(requestStream.Current.ToByteString());
            var response = Alpha.ServerReflectionResponse.Parser.ParseFrom(
                _index.Answer(request, sent).ToByteString());
            await responseStream.WriteAsync(response, context.CancellationToken).ConfigureAwait(false);
        }
    }
}
