using Grpc.Core;
using Grpc.Health.V1;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Protocol.V1;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>Channels by address: bounds, connections, repeated calls and their budget, deadlines, the end.</summary>
[TestFixture]
internal sealed class PeerChannelsTests
{
    [Test]
    public async Task Describe_UnavailableTwice_IsRepeatedUntilItIsAnswered()
    {
        var worker = new FlakyGeneration { Failures = 2 };
        await using var server = await FlakyGeneration.ServeAsync(worker);
        using var channels = Open(new PeerOptions { AttemptsMax = 3, RetryDelayMs = 1 });

        var card = await ClientOf(channels, server).DescribeAsync(new DescribeRequest());

        Assert.That(card.ModelId, Is.EqualTo("flaky"));
        Assert.That(worker.Calls, Is.EqualTo(3));
    }

    [Test]
    public async Task Describe_UnavailableMoreOftenThanItIsTried_Fails()
    {
        var worker = new FlakyGeneration { Failures = 3 };
        await using var server = await FlakyGeneration.ServeAsync(worker);
        using var channels = Open(new PeerOptions { AttemptsMax = 3, RetryDelayMs = 1 });

        await DescribeFailsAsync(ClientOf(channels, server));

        Assert.That(worker.Calls, Is.EqualTo(3));
    }

    [Test]
    public async Task Generate_Unavailable_IsNotRepeated()
    {
        var worker = new FlakyGeneration { Failures = 1 };
        await using var server = await FlakyGeneration.ServeAsync(worker);
        using var channels = Open(new PeerOptions { RetryDelayMs = 1 });
        using var call = ClientOf(channels, server).Generate(new GenerateRequest());

        var fault = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext(CancellationToken.None));

        Assert.That(fault!.StatusCode, Is.EqualTo(StatusCode.Unavailable));
        Assert.That(worker.Calls, Is.EqualTo(1));
    }

    [Test]
    public async Task Describe_OfAWorkerInTrouble_IsRepeatedOnlyWithinTheBudget()
    {
        const int Calls = 20;
        const int Budget = 4;
        var worker = new FlakyGeneration { Failures = int.MaxValue };
        await using var server = await FlakyGeneration.ServeAsync(worker);
        using var channels = Open(new PeerOptions { RetryDelayMs = 1, RetryBudget = Budget, RetryBudgetRefill = 1 });
        var client = ClientOf(channels, server);

        for (var call = 0; call < Calls; call++)
        {
            await DescribeFailsAsync(client);
        }

        Assert.That(worker.Calls, Is.InRange(Calls + 1, Calls + Budget));

        // Calls that succeed fill the budget again.
        worker.Failures = 0;
        for (var call = 0; call < 2 * Budget; call++)
        {
            await client.DescribeAsync(new DescribeRequest());
        }

        worker.Failures = 1;
        Assert.That((await client.DescribeAsync(new DescribeRequest())).ModelId, Is.EqualTo("flaky"));
    }

    [Test]
    public async Task Get_TheSameAddress_SharesAConnectionUnlessAnotherIsAskedFor()
    {
        var worker = new FlakyGeneration();
        await using var server = await FlakyGeneration.ServeAsync(worker);
        using var channels = Open(new PeerOptions());
        var address = server.Address.AbsoluteUri;

        CallInvoker[] invokers =
            [channels.Get(address), channels.Get(address), channels.Get(address, 1), channels.Get(address, 1)];
        foreach (var invoker in invokers)
        {
            await new Generation.GenerationClient(invoker).DescribeAsync(new DescribeRequest());
        }

        var peers = worker.Peers.ToArray();
        Assert.That(peers[1], Is.EqualTo(peers[0]));
        Assert.That(peers[2], Is.Not.EqualTo(peers[0]));
        Assert.That(peers[3], Is.EqualTo(peers[2]));
        Assert.That(channels.Count, Is.EqualTo(2));
    }

    [Test]
    public async Task Call_WhereAllChannelsAreThere_TakesTheRoomOfOneWithoutCalls()
    {
        await using var first = await FlakyGeneration.ServeAsync();
        await using var second = await FlakyGeneration.ServeAsync();
        await using var third = await FlakyGeneration.ServeAsync();
        using var channels = Open(new PeerOptions { ChannelsMax = 2 });
        var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30)).Token;
        using var watching = await WatchAsync(channels, first, limit);
        var next = watching.ResponseStream.MoveNext(limit);
        var idle = ClientOf(channels, second);
        await idle.DescribeAsync(new DescribeRequest());

        await ClientOf(channels, third).DescribeAsync(new DescribeRequest());
        Assert.That(channels.Count, Is.EqualTo(2));

        // The channel that made room is opened again, and the one with an open call was left alone.
        await idle.DescribeAsync(new DescribeRequest());
        var alsoWatching = await WatchAsync(channels, second, limit);
        var refused = await Assert.ThrowsAsync<RpcException>(
            async () => await ClientOf(channels, third).DescribeAsync(new DescribeRequest()));
        Assert.That(refused!.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
        Assert.That(refused.Status.Detail, Does.Contain("peer.channels_max"));

        Assert.That(next.IsCompleted, Is.False);

        alsoWatching.Dispose();
        await ClientOf(channels, third).DescribeAsync(new DescribeRequest());
    }

    [Test]
    public async Task Deadline_OfACall_EndsItOnBothSides()
    {
        var worker = new FlakyGeneration();
        await using var server = await FlakyGeneration.ServeAsync(worker);
        using var channels = Open(new PeerOptions());
        var deadline = TimeProvider.System.GetUtcNow().UtcDateTime.AddMilliseconds(100);

        var fault = await Assert.ThrowsAsync<RpcException>(async () =>
            await ClientOf(channels, server).GetStatusAsync(new GetStatusRequest(), deadline: deadline));

        Assert.That(fault!.StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded));
        await worker.Ended.Task.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Test]
    public async Task Dispose_WithACallOpen_EndsItOnBothSides()
    {
        var worker = new FlakyGeneration();
        await using var server = await FlakyGeneration.ServeAsync(worker);
        var channels = Open(new PeerOptions());
        using var call = ClientOf(channels, server).GetStatusAsync(new GetStatusRequest());
        await ClientOf(channels, server).DescribeAsync(new DescribeRequest());

        channels.Dispose();

        Assert.That(async () => await call, Throws.InstanceOf<RpcException>());
        await worker.Ended.Task.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.That(
            async () => await ClientOf(channels, server).DescribeAsync(new DescribeRequest()),
            Throws.InstanceOf<ObjectDisposedException>());
    }

    private static PeerChannels Open(PeerOptions options) => new(options, NullLoggerFactory.Instance);

    private static Generation.GenerationClient ClientOf(PeerChannels channels, RpcServer server) =>
        new(channels.Get(server.Address.AbsoluteUri));

    private static async Task DescribeFailsAsync(Generation.GenerationClient client)
    {
        var fault = await Assert.ThrowsAsync<RpcException>(
            async () => await client.DescribeAsync(new DescribeRequest()));
        Assert.That(fault!.StatusCode, Is.EqualTo(StatusCode.Unavailable));
    }

    /// <summary>A call that stays open.</summary>
    private static async Task<AsyncServerStreamingCall<HealthCheckResponse>> WatchAsync(
        PeerChannels channels, RpcServer server, CancellationToken limit)
    {
        var client = new Health.HealthClient(channels.Get(server.Address.AbsoluteUri));
        var call = client.Watch(new HealthCheckRequest(), cancellationToken: limit);
        Assert.That(await call.ResponseStream.MoveNext(limit), Is.True);
        return call;
    }
}
