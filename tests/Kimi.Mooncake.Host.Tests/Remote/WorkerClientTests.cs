using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Gateway.Tests;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>A simulated generator behind the real server: events, refusals, loss and return.</summary>
[TestFixture]
internal sealed class WorkerClientTests
{
    private static GenerationRequest Request(int maxNewTokens = 100) => new()
    {
        RequestId = "r1",
        PromptTokens = [1, 2, 3],
        MaxNewTokens = maxNewTokens,
        StopTokens = [ScriptedGenerator.ImEnd],
        ReportProgress = true,
        CacheSalt = "mandant",
        Sampling = new SamplingParameters { Logprobs = true, TopLogprobs = 2, Seed = ulong.MaxValue },
    };

    [Test]
    public async Task Generate_EveryEvent_ArrivesAsItWasSent()
    {
        var scripted = new ScriptedGenerator { CachedTokens = 2 };
        await using var worker = await RunningWorker.StartAsync(scripted);

        var there = await ListAsync(scripted.GenerateAsync(Request(), CancellationToken.None));
        var here = await ListAsync(worker.Remote.GenerateAsync(Request(), CancellationToken.None));

        Assert.That(here.Select(Text), Is.EqualTo(there.Select(Text)));
        Assert.That(here.OfType<TokenGenerated>().First().TopLogprobs[1].Logprob, Is.EqualTo(float.NegativeInfinity));
        var received = scripted.Requests[1];
        Assert.That((received.CacheSalt, received.Sampling.Seed), Is.EqualTo(("mandant", ulong.MaxValue)));
    }

    [Test]
    public async Task Status_OfTheWorker_ComesWithItsMetrics()
    {
        var scripted = new ScriptedGenerator();
        await using var worker = await RunningWorker.StartAsync(scripted);

        var status = await AskAsync();

        Assert.That(status.Metrics, Is.EqualTo(scripted.Status().Metrics));
        Assert.That(status with { Metrics = [] }, Is.EqualTo(scripted.Status() with { Metrics = [] }));
        scripted.Ready = false;
        Assert.That((await AskAsync()).NotReadyReason, Is.EqualTo("the model is loading"));
        await worker.StopServerAsync();
        await Assert.ThrowsAsync<WorkerUnavailableException>(AskAsync);

        Task<WorkerStatus> AskAsync() => worker.Client.StatusAsync(
            worker.Address.AbsoluteUri, TimeSpan.FromSeconds(30), CancellationToken.None);
    }

    [Test]
    public async Task Generate_Refused_IsTheSameExceptionWithItsNumbers()
    {
        var scripted = new ScriptedGenerator { Refusal = new QueueFullException(7, 8) };
        await using var worker = await RunningWorker.StartAsync(scripted);

        var full = await Assert.ThrowsAsync<QueueFullException>(
            () => ListAsync(worker.Remote.GenerateAsync(Request(), CancellationToken.None)));
        scripted.Refusal = new PromptTooLongException(700, 640);
        var tooLong = await Assert.ThrowsAsync<PromptTooLongException>(
            () => ListAsync(worker.Remote.GenerateAsync(Request(), CancellationToken.None)));
        scripted.Refusal = new ArgumentException("token 999; ids are 0 to 319");
        var invalid = await Assert.ThrowsAsync<ArgumentException>(
            () => ListAsync(worker.Remote.GenerateAsync(Request(), CancellationToken.None)));

        Assert.That((full!.Waiting, full.WaitingMax), Is.EqualTo((7, 8)));
        Assert.That((tooLong!.Tokens, tooLong.TokensMax), Is.EqualTo((700, 640)));
        Assert.That(invalid!.Message, Does.Contain("token 999"));
    }

    [Test]
    public async Task Generate_Failed_KeepsReasonAndMessage()
    {
        var scripted = new ScriptedGenerator
        {
            Answer = _ => [1],
            End = new GenerationFinished(FinishReason.Failed, "no more memory"),
        };
        await using var worker = await RunningWorker.StartAsync(scripted);

        var events = await ListAsync(worker.Remote.GenerateAsync(Request(), CancellationToken.None));

        Assert.That(events[^1], Is.EqualTo(scripted.End));
    }

    [Test]
    public async Task Cancel_DuringAStream_ReachesTheGenerator()
    {
        var scripted = new ScriptedGenerator { Answer = _ => [1, 2], HangAfterAnswer = true };
        await using var worker = await RunningWorker.StartAsync(scripted);
        using var cancellation = new CancellationTokenSource();

        var reading = ListAsync(worker.Remote.GenerateAsync(Request(), cancellation.Token));
        await scripted.FirstHanging.Task;
        await cancellation.CancelAsync();

        await scripted.FirstCancelled.Task.WaitAsync(TimeSpan.FromSeconds(10));
        await Assert.CatchAsync<OperationCanceledException>(() => reading);
    }

    [Test]
    public async Task Worker_LostDuringAStream_EndsItWithTheReasonAndComesBack()
    {
        var scripted = new ScriptedGenerator { Answer = _ => [1, 2], HangAfterAnswer = true };
        await using var worker = await RunningWorker.StartAsync(scripted);
        var reading = ListAsync(worker.Remote.GenerateAsync(Request(), CancellationToken.None));
        await scripted.FirstHanging.Task;

        await worker.StopServerAsync();

        var lost = await Assert.ThrowsAsync<WorkerUnavailableException>(() => reading);
        Assert.That(lost!.Message, Does.Contain(worker.Address.AbsoluteUri));
        await Assert.ThrowsAsync<WorkerUnavailableException>(
            () => ListAsync(worker.Remote.GenerateAsync(Request(), CancellationToken.None)));

        scripted.HangAfterAnswer = false;
        await worker.RestartServerAsync();
        var events = await ListUntilServedAsync(worker);
        Assert.That(events.OfType<TokenGenerated>().Select(token => token.TokenId), Is.EqualTo(new[] { 1, 2 }));
    }

    [Test]
    public async Task Worker_BackWithAnotherModel_IsNotUsed()
    {
        var scripted = new ScriptedGenerator();
        var other = new ScriptedGenerator
        {
            Model = scripted.Model with { Fingerprint = new string('b', 64) },
        };
        await using var worker = await RunningWorker.StartAsync(scripted);

        await worker.StopServerAsync();
        await worker.RestartServerAsync(other);

        var refused = await Assert.ThrowsAsync<WorkerUnavailableException>(
            () => ListUntilServedAsync(worker));
        Assert.That(refused!.Message, Does.Contain("FailedPrecondition").And.Contain(other.Model.Fingerprint));
        Assert.That(other.Requests, Is.Empty);
    }

    [Test]
    public async Task Generate_MessageOverTheLimit_IsRefusedAndTheNextOneServed()
    {
        await using var worker = await RunningWorker.StartAsync(
            new ScriptedGenerator(), new PeerOptions { MessageBytesMax = 64 << 10 });
        var large = Request() with { PromptTokens = [.. Enumerable.Repeat(300, 100_000)] };

        var refused = await Assert.ThrowsAsync<WorkerUnavailableException>(
            () => ListAsync(worker.Remote.GenerateAsync(large, CancellationToken.None)));

        Assert.That(refused!.Message, Does.Contain("ResourceExhausted"));
        Assert.That(
            await ListAsync(worker.Remote.GenerateAsync(Request(), CancellationToken.None)), Is.Not.Empty);
    }

    [Test]
    public void Channel_BeyondThisMachine_NeedsTheOperatorsWord()
    {
        var refused = Assert.Throws<ArgumentException>(() => Open("http://192.0.2.1:9090", new PeerOptions()));

        Assert.That(refused.Message, Does.Contain("192.0.2.1").And.Contain("peer.insecure=true"));
        Assert.That(() => Open("http://192.0.2.1:9090", new PeerOptions { Insecure = true }), Throws.Nothing);
        Assert.That(() => Open("http://[::1]:9090", new PeerOptions()), Throws.Nothing);
        Assert.That(() => Open("127.0.0.1:9090", new PeerOptions()), Throws.ArgumentException);
        Assert.That(
            () => RpcServer.StartAsync(
                new RpcOptions { Address = "0.0.0.0", Port = 0 }, new PeerOptions(), [], () => true,
                NullLoggerFactory.Instance, TimeProvider.System, CancellationToken.None),
            Throws.ArgumentException.With.Message.Contains("peer.insecure=true"));

        static void Open(string address, PeerOptions options) =>
            PeerChannel.Create(address, options, NullLoggerFactory.Instance).Dispose();
    }

    /// <summary>A connection that was lost may take its time to come back.</summary>
    private static async Task<List<GenerationEvent>> ListUntilServedAsync(RunningWorker worker)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (true)
        {
            try
            {
                return await ListAsync(worker.Remote.GenerateAsync(Request(), limit.Token));
            }
            catch (WorkerUnavailableException fault) when (fault.Message.Contains(": Unavailable"))
            {
                limit.Token.ThrowIfCancellationRequested();
            }
        }
    }

    private static string Text(GenerationEvent generated) => generated is TokenGenerated token
        ? $"{token.TokenId} {token.Logprob} {string.Join(';', token.TopLogprobs)}"
        : generated.ToString();

    private static async Task<List<GenerationEvent>> ListAsync(IAsyncEnumerable<GenerationEvent> events)
    {
        var list = new List<GenerationEvent>();
        await foreach (var next in events)
        {
            list.Add(next);
        }

        return list;
    }
}
