using System.Globalization;
using System.Net;
using System.Text.Json;

namespace Kimi.Mooncake.Gateway.Tests;

internal sealed class StatusTests
{
    private RunningGateway _gateway = null!;

    [SetUp]
    public async Task StartAsync() => _gateway = await RunningGateway.StartAsync();

    [TearDown]
    public async Task StopAsync() => await _gateway.DisposeAsync();

    [Test]
    public async Task Models_List_HoldsTheModel()
    {
        var list = await GetJsonAsync("/v1/models");
        var one = await GetJsonAsync("/v1/models/test/kimi");

        Assert.That(list.GetProperty("object").GetString(), Is.EqualTo("list"));
        Assert.That(JsonElement.DeepEquals(list.GetProperty("data")[0], one));
        ChatTests.AssertJson(
            one,
            "{'id':'test/kimi','object':'model','created':1700000000,'owned_by':'kimi-mooncake','max_model_len':1000}");
    }

    [Test]
    public async Task Health_Ready_SaysLoad()
    {
        ChatTests.AssertJson(
            await GetJsonAsync("/health"),
            "{'status':'ok','ready':true,'reason':'','model':'test/kimi','context_length_tokens':1000,'waiting':1," +
            "'running':2,'blocks':{'free':5,'cached':3,'held':2,'total':10}}");
    }

    [TestCase("/health")]
    [TestCase("/metrics")]
    [TestCase("/v1/models")]
    [TestCase("/v1/models/test/kimi")]
    public async Task Status_Head_IsTheHeadOfGet(string path)
    {
        using var request = new HttpRequestMessage(HttpMethod.Head, path);
        using var head = await _gateway.Client.SendAsync(request);
        using var get = await _gateway.Client.GetAsync(new Uri(path, UriKind.Relative));

        Assert.That(head.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        Assert.That(head.Content.Headers.ContentType, Is.EqualTo(get.Content.Headers.ContentType));
        Assert.That(head.Content.Headers.ContentLength, Is.GreaterThan(0));
        Assert.That(await head.Content.ReadAsByteArrayAsync(), Is.Empty);
    }

    [Test]
    public async Task Health_NotReady_IsUnavailableAndSaysWhy()
    {
        _gateway.Generator.Ready = false;

        var health = await GetJsonAsync("/health", HttpStatusCode.ServiceUnavailable);

        Assert.That(health.GetProperty("ready").GetBoolean(), Is.False);
        Assert.That(health.GetProperty("reason").GetString(), Does.Contain("loading"));
    }

    [Test]
    public async Task Metrics_AfterRequests_CountThem()
    {
        const string Body = "{'model':'test/kimi','prompt':'abc','max_tokens':4}";
        _gateway.Generator.CachedTokens = 2;
        await _gateway.AskAsync("/v1/completions", Body);
        await _gateway.StreamAsync("/v1/completions", Body[..^1] + ",'stream':true}");
        using (await _gateway.PostAsync("/v1/completions", "{"))
        {
        }

        var metrics = await ReadIdleMetricsAsync();

        Assert.That(metrics["mooncake_store_hits_total"], Is.EqualTo(7));
        Assert.That(metrics["mooncake_kv_blocks_held"], Is.EqualTo(2));
        const string Completions = "mooncake_http_requests_total{endpoint=\"/v1/completions\"";
        Assert.That(metrics[Completions + ",status=\"200\"}"], Is.EqualTo(2));
        Assert.That(metrics[Completions + ",status=\"400\"}"], Is.EqualTo(1));
        Assert.That(metrics["mooncake_gateway_prompt_tokens_total"], Is.EqualTo(6));
        Assert.That(metrics["mooncake_gateway_cached_tokens_total"], Is.EqualTo(4));
        Assert.That(metrics["mooncake_gateway_completion_tokens_total"], Is.EqualTo(8));
        Assert.That(metrics["mooncake_time_to_first_token_seconds_count"], Is.EqualTo(2));
        Assert.That(metrics["mooncake_inter_token_latency_seconds_count"], Is.EqualTo(6));
        Assert.That(metrics["mooncake_e2e_request_latency_seconds_bucket{le=\"+Inf\"}"], Is.EqualTo(3));
    }

    [Test]
    public void Histogram_Values_FallIntoTheirBuckets()
    {
        var histogram = new Histogram("h", "Help.", [1, 2]);
        foreach (var value in new[] { 0.5, 1, 1.5, 9 })
        {
            histogram.Observe(value);
        }

        var text = new System.Text.StringBuilder();
        histogram.Write(text);

        Assert.That(
            text.ToString(),
            Is.EqualTo(
                "# HELP h Help.\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"2\"} 3\n" +
                "h_bucket{le=\"+Inf\"} 4\nh_sum 12\nh_count 4\n"));
    }

    /// <summary>A client may see its answer before the server has counted it: asks until only this is left.</summary>
    private async Task<Dictionary<string, double>> ReadIdleMetricsAsync()
    {
        using var limit = new CancellationTokenSource(RunningGateway.Patience);
        while (true)
        {
            limit.Token.ThrowIfCancellationRequested();
            var metrics = await ReadMetricsAsync();
            if (metrics["mooncake_http_requests_in_flight"] == 1)
            {
                return metrics;
            }
        }
    }

    private async Task<Dictionary<string, double>> ReadMetricsAsync()
    {
        using var response = await _gateway.Client.GetAsync(new Uri("/metrics", UriKind.Relative));
        Assert.That(
            response.Content.Headers.ContentType?.ToString(),
            Is.EqualTo("text/plain; version=0.0.4; charset=utf-8"));
        var text = await response.Content.ReadAsStringAsync();
        return text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(l => l[0] != '#')
            .Select(l => l.Split(' ')).ToDictionary(p => p[0], p => double.Parse(p[1], CultureInfo.InvariantCulture));
    }

    private async Task<JsonElement> GetJsonAsync(string path, HttpStatusCode status = HttpStatusCode.OK)
    {
        using var response = await _gateway.Client.GetAsync(new Uri(path, UriKind.Relative));
        Assert.That(response.StatusCode, Is.EqualTo(status));
        return JsonElement.Parse(await response.Content.ReadAsStringAsync());
    }
}
