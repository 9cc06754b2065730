using System.Collections.Concurrent;
using Grpc.Core;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Protocol.V1;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>A worker that fails the calls it is told to, and counts all of them.</summary>
internal sealed class FlakyGeneration : Generation.GenerationBase
{
    private int _calls;
    private int _failures;

    /// <summary>Calls that came, failed ones among them.</summary>
    public int Calls => Volatile.Read(ref _calls);

    /// <summary>Calls that will fail from now on.</summary>
    public int Failures
    {
        get => Volatile.Read(ref _failures);
        set => Volatile.Write(ref _failures, value);
    }

    /// <summary>The other ends of the connections that calls came over.</summary>
    public ConcurrentQueue<string> Peers { get; } = [];

    /// <summary>Done when the server has heard that a call of GetStatus, which never answers, is over.</summary>
    public TaskCompletionSource Ended { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public static Task<RpcServer> ServeAsync(FlakyGeneration? service = null, PeerOptions? peer = null) =>
        RpcServer.StartAsync(
            new RpcOptions { Port = 0, ShutdownSeconds = 0 }, peer ?? new PeerOptions(),
            [RpcService.Of(service ?? new FlakyGeneration(), Generation.Descriptor)], () => true,
            NullLoggerFactory.Instance, TimeProvider.System, CancellationToken.None);

    public override Task<DescribeResponse> Describe(DescribeRequest request, ServerCallContext context)
    {
        Count(context);
        return Task.FromResult(new DescribeResponse { ModelId = "flaky" });
    }

    public override async Task<GetStatusResponse> GetStatus(GetStatusRequest request, ServerCallContext context)
    {
        var ended = new TaskCompletionSource();
        using var registration = context.CancellationToken.Register(() => ended.TrySetResult());
        await ended.Task;
        Ended.TrySetResult();
        return new GetStatusResponse();
    }

    public override Task Generate(
        GenerateRequest request, IServerStreamWriter<GenerateEvent> responseStream, ServerCallContext context)
    {
        Count(context);
        return Task.CompletedTask;
    }

    private void Count(ServerCallContext context)
    {
        Interlocked.Increment(ref _calls);
        Peers.Enqueue(context.Peer);
        if (Interlocked.Decrement(ref _failures) >= 0)
        {
            throw new RpcException(new Status(StatusCode.Unavailable, "told to fail"));
        }
    }
}
