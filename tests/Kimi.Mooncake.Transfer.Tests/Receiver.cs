using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Transfer.Tests;

/// <summary>A real server with one service on a free loopback port.</summary>
internal sealed class Receiver : IAsyncDisposable
{
    private readonly WebApplication _application;
    private readonly TransferEngine? _engine;

    private Receiver(WebApplication application, TransferEngine? engine)
    {
        _application = application;
        _engine = engine;
    }

    public TransferEngine Engine => _engine!;

    public string Address => _application.Services.GetRequiredService<IServer>()
        .Features.GetRequiredFeature<IServerAddressesFeature>().Addresses.First();

    /// <summary>With an engine of its own.</summary>
    public static Task<Receiver> StartAsync(TransferOptions options)
    {
        var engine = new TransferEngine(options, new PeerOptions(), NullLoggerFactory.Instance, TimeProvider.System);
        return StartAsync(engine.Service, engine);
    }

    /// <summary>With any service.</summary>
    public static async Task<Receiver> StartAsync<T>(T service, TransferEngine? engine = null)
        where T : class
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton<ILoggerFactory>(NullLoggerFactory.Instance);
        builder.Services.AddSingleton<IMemoryPoolFactory<byte>>(new BlockPools());
        builder.Services.AddSingleton(service);
        builder.Services.AddGrpc(grpc => grpc.MaxReceiveMessageSize = new PeerOptions().MessageBytesMax);
        builder.WebHost.UseKestrelCore();
        builder.WebHost.UseSockets(sockets => sockets.WaitForDataBeforeAllocatingBuffer = false);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.Http2.InitialStreamWindowSize = 4 << 20;
            kestrel.Limits.Http2.InitialConnectionWindowSize = 8 << 20;
            kestrel.Listen(IPAddress.Loopback, 0, listener => listener.Protocols = HttpProtocols.Http2);
        });
        var application = builder.Build();
        application.MapGrpcService<T>();
        await application.StartAsync();
        return new Receiver(application, engine);
    }

    public async ValueTask DisposeAsync()
    {
        if (_engine is not null)
        {
            await _engine.DisposeAsync();
        }

        await _application.StopAsync();
        await _application.DisposeAsync();
    }

    private sealed class BlockPools : IMemoryPoolFactory<byte>
    {
        public System.Buffers.MemoryPool<byte> Create(MemoryPoolOptions? options = null) => new ReceiveBlockPool();
    }
}
