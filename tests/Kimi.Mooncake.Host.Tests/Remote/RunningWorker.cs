using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Transfer;
using Kimi.Mooncake.Worker;
using Microsoft.Extensions.Logging.Abstractions;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>A generator behind a real gRPC server on loopback, and a client of it.</summary>
internal sealed class RunningWorker : IAsyncDisposable
{
    private readonly ITokenGenerator _generator;
    private readonly PeerOptions _peer;
    private readonly PeerChannel _channel;
    private RpcServer? _server;

    private RunningWorker(ITokenGenerator generator, PeerOptions peer, RpcServer server)
    {
        _generator = generator;
        _peer = peer;
        _server = server;
        Address = server.Address;
        _channel = PeerChannel.Create(Address.AbsoluteUri, peer, NullLoggerFactory.Instance);
    }

    public Uri Address { get; }

    public RemoteTokenGenerator Remote { get; private set; } = null!;

    public static async Task<RunningWorker> StartAsync(ITokenGenerator generator, PeerOptions? peer = null)
    {
        var options = peer ?? new PeerOptions();
        var worker = new RunningWorker(generator, options, await ServeAsync(generator, options, port: 0));
        worker.Remote = await RemoteTokenGenerator.ConnectAsync(
            worker._channel.Invoker,
            new RemoteWorkerOptions { Address = worker.Address.AbsoluteUri, StatusIntervalMs = 20 },
            TimeProvider.System, NullLogger.Instance, CancellationToken.None);
        return worker;
    }

    /// <summary>Ends the server; calls that are open are broken off.</summary>
    public async Task StopServerAsync()
    {
        await _server!.DisposeAsync();
        _server = null;
    }

    /// <summary>Starts a server at the same address again.</summary>
    public async Task RestartServerAsync(ITokenGenerator? other = null) =>
        _server = await ServeAsync(other ?? _generator, _peer, Address.Port);

    /// <summary>Waits until the client's picture of the worker is the wanted one.</summary>
    public async Task UntilAsync(Func<WorkerStatus, bool> wanted)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(5));
        while (!wanted(Remote.Status()))
        {
            await timer.WaitForNextTickAsync(limit.Token);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Remote.DisposeAsync();
        _channel.Dispose();
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }
    }

    private static Task<RpcServer> ServeAsync(ITokenGenerator generator, PeerOptions peer, int port) =>
        RpcServer.StartAsync(
            new RpcOptions { Port = port, ShutdownSeconds = 0 }, peer,
            [RpcService.Of(
                new GenerationService(generator, NullLogger<GenerationService>.Instance), Wire.Generation.Descriptor)],
            () => generator.Status().Ready, NullLoggerFactory.Instance, TimeProvider.System, CancellationToken.None);
}
