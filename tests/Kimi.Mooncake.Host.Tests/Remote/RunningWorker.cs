using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Transfer;
using Kimi.Mooncake.Worker;
using Microsoft.Extensions.Logging.Abstractions;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>A generator behind a real gRPC server on loopback, and the worker as a gateway sees it.</summary>
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
        Client = new WorkerClient(_ => _channel.Invoker, TimeProvider.System);
        Remote = new RemoteWorker(Client, Address.AbsoluteUri, generator);
    }

    public Uri Address { get; }

    public WorkerClient Client { get; }

    public ITokenGenerator Remote { get; }

    public static async Task<RunningWorker> StartAsync(ITokenGenerator generator, PeerOptions? peer = null)
    {
        var options = peer ?? new PeerOptions();
        return new RunningWorker(generator, options, await ServeAsync(generator, options, port: 0));
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

    /// <summary>Waits for what a client brings about, where no event tells of it.</summary>
    public static async Task UntilAsync(Func<bool> condition)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(5));
        while (!condition())
        {
            await timer.WaitForNextTickAsync(limit.Token);
        }
    }

    public async ValueTask DisposeAsync()
    {
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

    /// <summary>Generations go over the connection; the status, which may not wait, is the worker's own.</summary>
    private sealed class RemoteWorker(WorkerClient client, string address, ITokenGenerator there) : ITokenGenerator
    {
        private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

        public ModelCard Model => there.Model;

        public IAsyncEnumerable<GenerationEvent> GenerateAsync(
            GenerationRequest request, CancellationToken cancellationToken) =>
            client.GenerateAsync(address, request, Model, Limit, cancellationToken);

        public WorkerStatus Status() => there.Status();
    }
}
