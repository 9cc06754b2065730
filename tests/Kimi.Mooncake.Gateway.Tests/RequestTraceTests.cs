using System.Diagnostics;
using System.Net.Http.Json;
using Kimi.Mooncake.Protocol;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Gateway.Tests;

/// <summary>The span of a completion: part of the caller's trace, with what was counted, or why it failed.</summary>
[TestFixture]
[NonParallelizable]
internal sealed class RequestTraceTests
{
    private const string Parent = "b7ad6b7169203331";

    [TestCase("0af7651916cd43dd8448eb211c80319c", 100, ActivityStatusCode.Unset)]
    [TestCase("0af7651916cd43dd8448eb211c80319d", -1, ActivityStatusCode.Error)]
    public async Task Completion_WithATraceParent_IsASpanOfThatTrace(
        string trace, int maxTokens, ActivityStatusCode status)
    {
        using var log = new SpanLog(RequestTrace.SourceName);
        await using var gateway = await RunningGateway.StartAsync(new ScriptedGenerator { CachedTokens = 2 });
        using var http = new HttpClient { BaseAddress = gateway.Address };
        using var message = new HttpRequestMessage(HttpMethod.Post, "/v1/completions")
        {
            Content = JsonContent.Create(new { model = "test/kimi", prompt = "hi", max_tokens = maxTokens }),
            Headers = { { "traceparent", $"00-{trace}-{Parent}-01" } },
        };

        using var response = await http.SendAsync(message);

        var span = (await log.UntilAsync(trace, 1))["request"].Single();
        Assert.That($"{span.ParentSpanId}", Is.EqualTo(Parent));
        Assert.That(span.Status, Is.EqualTo(status));
        Assert.That(
            span.GetTagItem("request_id"), Is.EqualTo(response.Headers.GetValues("x-request-id").Single()));
        Assert.That(
            span.GetTagItem("cached_tokens"), Is.EqualTo(status == ActivityStatusCode.Unset ? 2 : null));
    }
}
