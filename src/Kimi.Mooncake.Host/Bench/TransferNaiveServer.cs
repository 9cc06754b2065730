using System.Net;
using Grpc.Core;
using Kimi.Mooncake.Transfer;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>
/// Takes frames as one would without further thought: the generated code on a server as it comes, with room in its
/// windows for several frames. Without checksums.
/// </summary>
internal sealed class TransferNaiveServer : IAsyncDisposable
{
    private const int StreamWindowBytes = 8 << 20;
    private const int ConnectionWindowBytes = 16 << 20;

    private readonly WebApplication _application;

    private TransferNaiveServer(WebApplication application) => _application = application;

    public Uri Address => new(_application.Services.GetRequiredService<IServer>()
        .Features.GetRequiredFeature<IServerAddressesFeature>().Addresses.First());

    public static async Task<TransferNaiveServer> StartAsync(TransferSlots target, CancellationToken cancellationToken)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(new Receiver(target));
        builder.Services.AddGrpc(grpc => grpc.MaxReceiveMessageSize = new PeerOptions().MessageBytesMax);
        builder.WebHost.UseKestrelCore();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.Http2.InitialStreamWindowSize = StreamWindowBytes;
            kestrel.Limits.Http2.InitialConnectionWindowSize = ConnectionWindowBytes;
            kestrel.Listen(IPAddress.Loopback, 0, listener => listener.Protocols = HttpProtocols.Http2);
        });
        var application = builder.Build();
        application.MapGrpcService<Receiver>();
        await application.StartAsync(cancellationToken).ConfigureAwait(false);
        return new TransferNaiveServer(application);
    }

    public async ValueTask DisposeAsync()
    {
        await _application.StopAsync(CancellationToken.None).ConfigureAwait(false);
        await _application.DisposeAsync().ConfigureAwait(false);
    }

    private sealed class Receiver(TransferSlots target) : Wire.Transfer.TransferBase
    {
        public override async Task Frames(
            IAsyncStreamReader<Wire.Frame> requestStream, IServerStreamWriter<Wire.FrameReply> responseStream,
            ServerCallContext context)
        {
            while (await requestStream.MoveNext(context.CancellationToken).ConfigureAwait(false))
            {
                var frame = requestStream.Current;
                frame.Payload.Span.CopyTo(target[(int)frame.Slot]);
            }

            await responseStream.WriteAsync(new Wire.FrameReply(), context.CancellationToken).ConfigureAwait(false);
        }
    }
}
