using System.Net;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Transfer;
using Kimi.Mooncake.Worker;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>The gRPC server of a worker process, over HTTP/2 without encryption.</summary>
internal sealed class WorkerServer : IAsyncDisposable
{
    private readonly WebApplication _application;

    private WorkerServer(WebApplication application) => _application = application;

    /// <summary>The address that is listened on, with the true port.</summary>
    public Uri Address => new(_application.Services.GetRequiredService<IServer>()
        .Features.GetRequiredFeature<IServerAddressesFeature>().Addresses.First());

    /// <summary>Starts to listen.</summary>
    /// <exception cref="ArgumentException">The address cannot be listened on.</exception>
    /// <exception cref="IOException">The port is in use.</exception>
    public static async Task<WorkerServer> StartAsync(
        ITokenGenerator generator, RpcOptions options, PeerOptions peer, ILoggerFactory loggers, TimeProvider time,
        CancellationToken cancellationToken)
    {
        if (!IPAddress.TryParse(options.Address, out var address))
        {
            throw new ArgumentException($"rpc.address is '{options.Address}'; expected an IP address", nameof(options));
        }

        PeerChannel.RequireAllowed(options.Address, peer);
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(loggers);
        builder.Services.AddSingleton<IHostLifetime, CallerOwnedLifetime>();
        builder.Services.AddSingleton(new GenerationService(generator, loggers.CreateLogger<GenerationService>()));
        builder.Services.AddSingleton(new HealthService(generator, time));
        builder.Services.AddGrpc(grpc =>
        {
            grpc.MaxReceiveMessageSize = peer.MessageBytesMax;
            grpc.MaxSendMessageSize = peer.MessageBytesMax;
        });
        builder.Services.Configure<HostOptions>(
            host => host.ShutdownTimeout = TimeSpan.FromSeconds(options.ShutdownSeconds));
        builder.WebHost.UseKestrelCore();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxConcurrentConnections = options.ConnectionsMax;
            kestrel.Limits.Http2.MaxStreamsPerConnection = options.CallsPerConnectionMax;
            kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromMilliseconds(peer.KeepAliveDelayMs);
            kestrel.Limits.Http2.KeepAlivePingTimeout = TimeSpan.FromMilliseconds(peer.KeepAliveTimeoutMs);
            kestrel.Listen(address, options.Port, listener => listener.Protocols = HttpProtocols.Http2);
        });
        var application = builder.Build();
        application.MapGrpcService<GenerationService>();
        application.MapGrpcService<HealthService>();
        var server = new WorkerServer(application);
        try
        {
            await application.StartAsync(cancellationToken).ConfigureAwait(false);
            return server;
        }
        catch
        {
            await application.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Accepts nothing more, waits for open calls as long as the options say, and ends the rest.</summary>
    public async ValueTask DisposeAsync()
    {
        await _application.StopAsync(CancellationToken.None).ConfigureAwait(false);
        await _application.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>Signals belong to whoever starts the server.</summary>
    private sealed class CallerOwnedLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
