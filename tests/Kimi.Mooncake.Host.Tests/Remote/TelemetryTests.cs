using System.Diagnostics;
using Grpc.Core;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Protocol;
using Kimi.Mooncake.Protocol.V1;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>Spans: off unless asked for, from process to process, and to a collector.</summary>
[TestFixture]
[NonParallelizable]
internal sealed class TelemetryTests
{
    private const string Trace = "0af7651916cd43dd8448eb211c80319c";
    private const string Parent = "b7ad6b7169203331";

    [Test]
    public void Start_WithoutACollector_MakesNoSpansAndSaysSo()
    {
        var log = new LogOfTests();
        using var telemetry = Telemetry.Start(new TelemetryOptions(), "n", "all", log, TimeProvider.System);

        using var span = RequestTrace.Begin(RequestTrace.Request);

        Assert.That(span, Is.Null);
        Assert.That(log.Text, Does.Contain("Tracing is off: telemetry.otlp_endpoint is empty"));
    }

    [Test]
    public void Start_WithAnEndpointThatIsNone_NamesTheSetting() => Assert.That(
        () => Telemetry.Start(
            new TelemetryOptions { OtlpEndpoint = "127.0.0.1:4317" }, "n", "all", NullLoggerFactory.Instance,
            TimeProvider.System),
        Throws.TypeOf<SettingException>().With.Message.Contains("telemetry.otlp_endpoint"));

    [Test]
    public async Task Spans_OfACallerAndItsServer_AreOneTraceAtTheCollector()
    {
        var collector = new SpanCollector();
        await using var collecting = await collector.ServeAsync();
        await using var server = await RpcServer.StartAsync(
            new RpcOptions { Port = 0, ShutdownSeconds = 0 }, new PeerOptions(),
            [RpcService.Of(new TracedWorker(), Generation.Descriptor)], () => true, NullLoggerFactory.Instance,
            TimeProvider.System, CancellationToken.None);
        using var channels = new PeerChannels(new PeerOptions(), NullLoggerFactory.Instance);
        using (Start(collecting.Address, ratio: 1))
        {
            using var request = RequestTrace.Continue(RequestTrace.Request, $"00-{Trace}-{Parent}-01", null);
            await new Generation.GenerationClient(channels.Get(server.Address.AbsoluteUri))
                .DescribeAsync(new DescribeRequest());
            request!.SetTag("prompt_tokens", 7);
        }

        // Whoever disposes has sent everything.
        var spans = collector.Spans.Where(span => span.TraceId == Trace).ToDictionary(span => span.Name);
        Assert.That(spans.Keys, Is.EquivalentTo(new[] { "request", "decode", "hand-over" }));
        Assert.That(spans["request"].ParentId, Is.EqualTo(Parent));
        Assert.That(spans["decode"].ParentId, Is.EqualTo(spans["request"].SpanId));
        Assert.That(spans["hand-over"].ParentId, Is.EqualTo(spans["decode"].SpanId));
        Assert.That(spans["request"].Tags["prompt_tokens"], Is.EqualTo("7"));
        Assert.That(spans["hand-over"].Tags["bytes"], Is.EqualTo("5"));
        Assert.That(spans.Values.Select(span => span.Node), Is.All.EqualTo("node-1"));
    }

    [Test]
    public async Task Spans_OfARequestThatIsNotSampled_AreSentByNobody()
    {
        var collector = new SpanCollector();
        await using var collecting = await collector.ServeAsync();
        var traced = new TracedWorker();
        await using var server = await RpcServer.StartAsync(
            new RpcOptions { Port = 0, ShutdownSeconds = 0 }, new PeerOptions(),
            [RpcService.Of(traced, Generation.Descriptor)], () => true, NullLoggerFactory.Instance,
            TimeProvider.System, CancellationToken.None);
        using var channels = new PeerChannels(new PeerOptions(), NullLoggerFactory.Instance);
        using (Start(collecting.Address, ratio: 0))
        {
            using var request = RequestTrace.Continue(RequestTrace.Request, null, null);
            await new Generation.GenerationClient(channels.Get(server.Address.AbsoluteUri))
                .DescribeAsync(new DescribeRequest());
        }

        // The called process hears that the trace is not wanted, so it does not begin one of its own.
        Assert.That(traced.ParentHeader, Does.EndWith("-00"));
        Assert.That(collector.Spans, Is.Empty);
    }

    [Test]
    public async Task Collector_ThatIsAway_IsReportedAndHoldsNothingUp()
    {
        var log = new LogOfTests();
        await using var gone = await new SpanCollector().ServeAsync();
        var address = gone.Address.AbsoluteUri;
        await gone.DisposeAsync();
        var start = Stopwatch.GetTimestamp();
        using (Telemetry.Start(
            new TelemetryOptions { OtlpEndpoint = address, SendTimeoutMs = 500 }, "n", "all", log,
            TimeProvider.System))
        {
            RequestTrace.Begin(RequestTrace.Request)?.Dispose();
        }

        Assert.That(log.Text, Does.Contain("Spans could not be sent"));
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(TimeSpan.FromSeconds(20)));
    }

    private static Telemetry Start(Uri collector, double ratio) => Telemetry.Start(
        new TelemetryOptions { OtlpEndpoint = collector.AbsoluteUri, SampleRatio = ratio }, "node-1", "all",
        NullLoggerFactory.Instance, TimeProvider.System);

    /// <summary>Makes the spans of a worker.</summary>
    private sealed class TracedWorker : Generation.GenerationBase
    {
        public string? ParentHeader { get; private set; }

        public override Task<DescribeResponse> Describe(DescribeRequest request, ServerCallContext context)
        {
            ParentHeader = context.RequestHeaders.GetValue("traceparent");
            using var span = RequestTrace.Continue(RequestTrace.Decode, context);
            RequestTrace.Add(RequestTrace.HandOver, TimeSpan.FromMilliseconds(3), ("bytes", 5));
            return Task.FromResult(new DescribeResponse());
        }
    }

    /// <summary>Keeps what was logged.</summary>
    private sealed class LogOfTests : ILoggerFactory, ILogger
    {
        private readonly System.Text.StringBuilder _text = new();

        public string Text
        {
            get
            {
                lock (_text)
                {
                    return _text.ToString();
                }
            }
        }

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter)
        {
            lock (_text)
            {
                _text.AppendLine(formatter(state, exception));
            }
        }

        public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

        public void Dispose()
        {
        }
    }
}
