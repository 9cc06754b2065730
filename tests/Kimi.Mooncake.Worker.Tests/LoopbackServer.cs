using System.Net;
using Kimi.Mooncake.Transfer;
using Kimi.Mooncake.Worker.Peers;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Kimi.Mooncake.Worker.Tests;

/// <summary>A gRPC server on a port of its own; its end breaks off every call, as that of a process does.</summary>
internal sealed class LoopbackServer : IAsyncDisposable
{
    private readonly WebApplication _application;

    private LoopbackServer(WebApplication application) => _application = application;

    public string Address => _application.Services.GetRequiredService<IServer>()
        .Features.GetRequiredFeature<IServerAddressesFeature>().Addresses.First();

    /// <summary>Starts a server of one service, a transfer engine's, and perhaps that of blocks.</summary>
    public static async Task<LoopbackServer> StartAsync<TService>(
        TService service, TransferService transfer, int port = 0, BlocksService? blocks = null)
        where TService : class
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(service).AddSingleton(transfer);
        if (blocks is not null)
        {
            builder.Services.AddSingleton(blocks);
        }

        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
        builder.Services.AddGrpc(grpc => grpc.MaxReceiveMessageSize = 32 << 20);
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.Zero);
        builder.WebHost.UseKestrelCore();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(
            IPAddress.Loopback, port, listener => listener.Protocols = HttpProtocols.Http2));
        var application = builder.Build();
        application.MapGrpcService<TService>();
        application.MapGrpcService<TransferService>();
        if (blocks is not null)
        {
            application.MapGrpcService<BlocksService>();
        }

        await application.StartAsync();
        return new LoopbackServer(application);
    }

    public async ValueTask DisposeAsync()
    {
        await _application.StopAsync(new CancellationToken(canceled: true));
        await _application.DisposeAsync();
    }

    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
