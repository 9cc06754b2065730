using System.Diagnostics;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Protocol;
using Kimi.Mooncake.Tests;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Worker.Tests;

/// <summary>One trace of a request from the gateway's side to the workers that decode and prefill.</summary>
[TestFixture]
[NonParallelizable]
internal sealed class RequestTraceTests
{
    private const string Trace = "0af7651916cd43dd8448eb211c80319c";
    private const string Parent = "b7ad6b7169203331";

    [Test]
    public async Task Trace_OfARequestPrefilledElsewhere_HasASpanOfEachPartInsideItsCaller()
    {
        using var log = new SpanLog(RequestTrace.SourceName);
        await using var prefill = await WorkerNode.StartAsync();
        await using var decode = await WorkerNode.StartAsync();
        await using var server = await LoopbackServer.StartAsync(
            new GenerationService(decode.Worker, NullLogger<GenerationService>.Instance), decode.Transfer.Service);
        using var channels = new PeerChannels(new PeerOptions(), NullLoggerFactory.Instance);
        var router = new FixedRouter(new WorkerPair(
            new NodeAddress("d", server.Address), new NodeAddress("p", prefill.Address), null, 0, 0, false));
        await using var cluster = new ClusterTokenGenerator(
            decode.Worker.Model, router, new WorkerClient(channels.Get, TimeProvider.System),
            new RemoteWorkerOptions(), new RetryOptions(), TimeProvider.System, NullLogger.Instance);
        var prompt = WorkerSession.TokensOf(WorkerSession.Document(300, 1, "The passcode of Aurora is 7319-KESTREL."));

        await GenerateAsync(cluster, WorkerNode.Request(prompt));

        var spans = await log.UntilAsync(Trace, 6);
        Assert.That(spans.Select(named => named.Key), Is.EquivalentTo(new[]
        {
            "request", "route", "decode", "import", "prefill", "hand-over",
        }));
        var by = spans.ToDictionary(named => named.Key, named => named.Single());
        var parents = by.ToDictionary(pair => pair.Key, pair => $"{pair.Value.ParentSpanId}");
        Assert.That(parents["request"], Is.EqualTo(Parent));
        Assert.That(parents["route"], Is.EqualTo(IdOf("request")));
        Assert.That(parents["decode"], Is.EqualTo(IdOf("request")));
        Assert.That(parents["import"], Is.EqualTo(IdOf("decode")));
        Assert.That(parents["prefill"], Is.EqualTo(IdOf("import")));
        Assert.That(parents["hand-over"], Is.EqualTo(IdOf("prefill")));
        Assert.That(by["route"].GetTagItem("prefill"), Is.EqualTo("p"));
        var bytes = by["import"].GetTagItem("bytes");
        Assert.That(by["hand-over"].GetTagItem("bytes"), Is.EqualTo(bytes).And.GreaterThan(0));

        string IdOf(string name) => $"{by[name].SpanId}";
    }

    [Test]
    public async Task Trace_WherePrefillFails_SaysWhyAndThatItWasTriedAgain()
    {
        using var log = new SpanLog(RequestTrace.SourceName);
        await using var decode = await WorkerNode.StartAsync();
        await using var server = await LoopbackServer.StartAsync(
            new GenerationService(decode.Worker, NullLogger<GenerationService>.Instance), decode.Transfer.Service);
        using var channels = new PeerChannels(new PeerOptions(), NullLoggerFactory.Instance);
        var here = new NodeAddress("d", server.Address);
        var router = new FixedRouter(
            new WorkerPair(here, new NodeAddress("p", "http://127.0.0.1:9"), null, 0, 0, false),
            new WorkerPair(here, null, null, 0, 0, true));
        await using var cluster = new ClusterTokenGenerator(
            decode.Worker.Model, router, new WorkerClient(channels.Get, TimeProvider.System),
            new RemoteWorkerOptions(), new RetryOptions { DelayMs = 1 }, TimeProvider.System, NullLogger.Instance);

        await GenerateAsync(cluster, WorkerNode.Request([1, 2, 3]));

        var spans = await log.UntilAsync(Trace, 6);
        Assert.That(spans["import"].Single().Status, Is.EqualTo(ActivityStatusCode.Error));
        Assert.That(
            spans["decode"].Select(span => span.Status),
            Is.EquivalentTo(new[] { ActivityStatusCode.Error, ActivityStatusCode.Unset }));
        var retried = spans["request"].Single().Events.Single();
        Assert.That(retried.Name, Is.EqualTo("retried"));
        Assert.That(retried.Tags.Single(tag => tag.Key == "node").Value, Is.EqualTo("p"));
    }

    private static async Task GenerateAsync(ClusterTokenGenerator cluster, GenerationRequest request)
    {
        using var span = RequestTrace.Continue(RequestTrace.Request, $"00-{Trace}-{Parent}-01", null);
        using var limit = new CancellationTokenSource(WorkerNode.Patience);
        GenerationEvent? last = null;
        await foreach (var next in cluster.GenerateAsync(request, limit.Token))
        {
            last = next;
        }

        Assert.That(last, Is.InstanceOf<GenerationFinished>());
    }

    /// <summary>Gives the same workers to everybody; the last ones for good.</summary>
    private sealed class FixedRouter(params WorkerPair[] pairs) : IRouter
    {
        private int _next;

        public Task<IRouteLease> RouteAsync(RouteQuery query, CancellationToken cancellationToken)
        {
            var place = Math.Min(_next++, pairs.Length - 1);
            return Task.FromResult<IRouteLease>(new Lease(pairs[place]));
        }

        public ClusterState State() => new([], 0, 0, "", "");

        public IReadOnlyList<Metric> Metrics() => [];

        private sealed class Lease(WorkerPair pair) : IRouteLease
        {
            public WorkerPair Pair => pair;

            public CancellationToken DecodeLost => CancellationToken.None;

            public CancellationToken PrefillLost => CancellationToken.None;

            public string LostReason => "";

            public ValueTask DisposeAsync() => ValueTask.CompletedTask;
        }
    }
}
