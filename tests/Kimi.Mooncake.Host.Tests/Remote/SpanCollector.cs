using System.Collections.Concurrent;
using Google.Protobuf;
using Grpc.Core;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Host.Tests.Remote.Otlp;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>One span as a collector sees it.</summary>
internal sealed record CollectedSpan(
    string Node, string Name, string TraceId, string SpanId, string ParentId, IReadOnlyDictionary<string, string> Tags);

/// <summary>Takes spans by OTLP over gRPC.</summary>
internal sealed class SpanCollector : TraceService.TraceServiceBase
{
    private readonly ConcurrentQueue<CollectedSpan> _spans = [];

    public IReadOnlyList<CollectedSpan> Spans => [.. _spans];

    public Task<RpcServer> ServeAsync() => RpcServer.StartAsync(
        new RpcOptions { Port = 0, ShutdownSeconds = 0 }, new PeerOptions(),
        [RpcService.Of(this, TraceService.Descriptor)], () => true, NullLoggerFactory.Instance, TimeProvider.System,
        CancellationToken.None);

    public override Task<ExportTraceServiceResponse> Export(
        ExportTraceServiceRequest request, ServerCallContext context)
    {
        foreach (var resource in request.ResourceSpans)
        {
            var node = TagsOf(resource.Resource.Attributes)["service.instance.id"];
            foreach (var span in resource.ScopeSpans.SelectMany(scope => scope.Spans))
            {
                _spans.Enqueue(new CollectedSpan(
                    node, span.Name, Hex(span.TraceId), Hex(span.SpanId), Hex(span.ParentSpanId),
                    TagsOf(span.Attributes)));
            }
        }

        return Task.FromResult(new ExportTraceServiceResponse());
    }

    /// <summary>Waits until as many spans of a trace are there.</summary>
    public async Task<IReadOnlyList<CollectedSpan>> UntilAsync(string traceId, int count)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        while (true)
        {
            var spans = _spans.Where(span => span.TraceId == traceId).ToList();
            if (spans.Count >= count)
            {
                return spans;
            }

            await timer.WaitForNextTickAsync(limit.Token);
        }
    }

    private static string Hex(ByteString id) => Convert.ToHexStringLower(id.Span);

    private static Dictionary<string, string> TagsOf(IEnumerable<KeyValue> attributes) =>
        attributes.ToDictionary(attribute => attribute.Key, attribute => attribute.Value.ValueCase switch
        {
            AnyValue.ValueOneofCase.StringValue => attribute.Value.StringValue,
            AnyValue.ValueOneofCase.BoolValue => $"{attribute.Value.BoolValue}",
            AnyValue.ValueOneofCase.IntValue => $"{attribute.Value.IntValue}",
            _ => $"{attribute.Value.DoubleValue}",
        });
}
