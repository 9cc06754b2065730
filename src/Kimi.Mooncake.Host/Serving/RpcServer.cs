using System.Net;
using Kimi.Mooncake.Transfer;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Contract = Google.Protobuf.Reflection.ServiceDescriptor;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>
/// The gRPC server of a process: the services of its roles, and those for health and reflection. HTTP/2, with TLS where
/// certificates are given.
/// </summary>
internal sealed class RpcServer : IAsyncDisposable
{
    private static readonly TimeSpan HandshakeTimeMax = TimeSpan.FromSeconds(10);

    private readonly WebApplication _application;
    private readonly PeerCredentials _credentials;

    private RpcServer(WebApplication application, PeerCredentials credentials)
    {
        _application = application;
        _credentials = credentials;
    }

    /// <summary>The address that is listened on, with the true port.</summary>
    public Uri Address => new(_application.Services.GetRequiredService<IServer>()
        .Features.GetRequiredFeature<IServerAddressesFeature>().Addresses.First());

    /// <summary>Starts to listen.</summary>
    /// <param name="options">Where, and how much.</param>
    /// <param name="peer">Bounds and certificates.</param>
    /// <param name="services">The services of the process's roles; their objects are the caller's.</param>
    /// <param name="isReady">Whether the process takes requests; the health service says it.</param>
    /// <param name="loggers">Takes what the server says; owned by the caller.</param>
    /// <param name="time">Clock.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="ArgumentException">The address cannot be listened on, or a certificate is bad.</exception>
    /// <exception cref="IOException">The port is in use.</exception>
    public static async Task<RpcServer> StartAsync(
        RpcOptions options, PeerOptions peer, IReadOnlyCollection<RpcService> services, Func<bool> isReady,
        ILoggerFactory loggers, TimeProvider time, CancellationToken cancellationToken)
    {
        if (!IPAddress.TryParse(options.Address, out var address))
        {
            throw new ArgumentException($"rpc.address is '{options.Address}'; expected an IP address", nameof(options));
        }

        PeerChannel.RequireAllowed(options.Address, peer);
        var credentials = PeerCredentials.Load(peer);
        var application = Build(options, peer, WithStandardOnes(services, isReady, time), loggers, builder =>
            builder.ConfigureKestrel(kestrel => kestrel.Listen(address, options.Port, listener =>
            {
                listener.Protocols = HttpProtocols.Http2;
                Secure(listener, credentials);
            })));
        var server = new RpcServer(application, credentials);
        try
        {
            await application.StartAsync(cancellationToken).ConfigureAwait(false);
            return server;
        }
        catch
        {
            await application.DisposeAsync().ConfigureAwait(false);
            credentials.Dispose();
            throw;
        }
    }

    /// <summary>Accepts nothing more, waits for open calls as long as the options say, and ends the rest.</summary>
    public async ValueTask DisposeAsync()
    {
        await _application.StopAsync(CancellationToken.None).ConfigureAwait(false);
        await _application.DisposeAsync().ConfigureAwait(false);
        _credentials.Dispose();
    }

    private static List<RpcService> WithStandardOnes(
        IReadOnlyCollection<RpcService> services, Func<bool> isReady, TimeProvider time)
    {
        var health = Grpc.Health.V1.Health.Descriptor;
        var reflection = Grpc.Reflection.V1.ServerReflection.Descriptor;
        var alpha = Grpc.Reflection.V1Alpha.ServerReflection.Descriptor;
        Contract[] all = [.. services.Select(service => service.Contract), health, reflection, alpha];
        string[] names = [.. services.Select(service => service.Contract.FullName)];
        return
        [
            .. services,
            RpcService.Of(new HealthService(isReady, names, time), health),
            RpcService.Of(new ReflectionService(all), reflection),
            RpcService.Of(new ReflectionAlphaService(all), alpha),
        ];
    }

    private static WebApplication Build(
        RpcOptions options, PeerOptions peer, List<RpcService> services, ILoggerFactory loggers,
        Action<IWebHostBuilder> listen)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(loggers);
        builder.Services.AddSingleton<IHostLifetime, CallerOwnedLifetime>();
        services.ForEach(service => service.AddTo(builder.Services));
        builder.Services.AddGrpc(grpc =>
        {
            grpc.MaxReceiveMessageSize = peer.MessageBytesMax;
            grpc.MaxSendMessageSize = peer.MessageBytesMax;
        });
        builder.Services.Configure<HostOptions>(
            host => host.ShutdownTimeout = TimeSpan.FromSeconds(options.ShutdownSeconds));
        builder.WebHost.UseKestrelCore();
        ReceiveBuffers.Enlarge(builder);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxConcurrentConnections = options.ConnectionsMax;
            kestrel.Limits.Http2.MaxStreamsPerConnection = options.CallsPerConnectionMax;
            kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromMilliseconds(peer.KeepAliveDelayMs);
            kestrel.Limits.Http2.KeepAlivePingTimeout = TimeSpan.FromMilliseconds(peer.KeepAliveTimeoutMs);
        });
        listen(builder.WebHost);
        var application = builder.Build();
        services.ForEach(service => service.MapTo(application));
        return application;
    }

    private static void Secure(ListenOptions listener, PeerCredentials credentials)
    {
        if (credentials.Server is { } handshake)
        {
            listener.UseHttps(new TlsHandshakeCallbackOptions
            {
                OnConnection = _ => ValueTask.FromResult(handshake),
                HandshakeTimeout = HandshakeTimeMax,
            });
        }
    }

    /// <summary>Signals belong to whoever starts the server.</summary>
    private sealed class CallerOwnedLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
