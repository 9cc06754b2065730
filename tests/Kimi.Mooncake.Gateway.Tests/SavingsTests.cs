using System.Net;
using System.Text;
using System.Text.Json;

namespace Kimi.Mooncake.Gateway.Tests;

/// <summary>What tenants used and saved.</summary>
[TestFixture]
internal sealed class SavingsTests
{
    private RunningGateway _gateway = null!;

    [SetUp]
    public async Task StartAsync() => _gateway = await RunningGateway.StartAsync(
        new ScriptedGenerator { CachedTokens = 2, SecondsSaved = 0.25 },
        new GatewayOptions { TenantsAccountedMax = 3, TenantsInMetricsMax = 2 });

    [TearDown]
    public async Task StopAsync() => await _gateway.DisposeAsync();

    [Test]
    public async Task Savings_OfACaller_AreItsOwn()
    {
        await AskAsync("a", choices: 1);
        await AskAsync("a", choices: 3);
        await AskAsync("b", choices: 1);

        var a = await SavingsAsync("a");
        var nobody = await SavingsAsync("c");

        Assert.That(a.GetProperty("tenant").GetString(), Is.EqualTo("a"));
        Assert.That(a.GetProperty("since").GetInt64(), Is.GreaterThan(1_700_000_000));
        Assert.That(Figures(a), Is.EqualTo((2L, 6L, 4L, 16L, 0.5)), "a prompt counts once, each choice has 4");
        Assert.That(Figures(nobody), Is.EqualTo((0L, 0L, 0L, 0L, 0.0)));
    }

    [Test]
    public async Task Savings_OfMoreTenantsThanAccounted_AreInACommonFigureAndSaidToBe()
    {
        foreach (var tenant in new[] { "a", "b", "c", "d", "e" })
        {
            await AskAsync(tenant, choices: 1);
        }

        Assert.That(Figures(await SavingsAsync("c")).Requests, Is.EqualTo(1), "accounted, if not on the page");
        using var response = await SendAsync(HttpMethod.Get, "/v1/savings", "d");
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain("not_accounted").And.Contain("'d'"));
    }

    [Test]
    public async Task Metrics_OfManyTenants_AreBoundedAndAddUp()
    {
        foreach (var tenant in new[] { null, "a", "b", "c", "a" })
        {
            await AskAsync(tenant, choices: 1);
        }

        await UntilIdleAsync();
        var page = await _gateway.Client.GetStringAsync(new Uri("/metrics", UriKind.Relative));

        Assert.That(page, Does.Contain("mooncake_tenant_requests_total{tenant=\"(none)\"} 1\n"));
        Assert.That(page, Does.Contain("mooncake_tenant_requests_total{tenant=\"a\"} 2\n"));
        Assert.That(page, Does.Contain("mooncake_tenant_requests_total{tenant=\"(other)\"} 2\n"));
        Assert.That(page, Does.Contain("mooncake_tenant_prompt_tokens_total{tenant=\"a\"} 6\n"));
        Assert.That(page, Does.Contain("mooncake_tenant_cached_tokens_total{tenant=\"a\"} 4\n"));
        Assert.That(page, Does.Contain("mooncake_tenant_completion_tokens_total{tenant=\"a\"} 8\n"));
        Assert.That(page, Does.Contain("mooncake_tenant_prefill_seconds_saved_total{tenant=\"a\"} 0.5\n"));
        Assert.That(page, Does.Contain("mooncake_gateway_prefill_seconds_saved_total 1.25\n"));
        Assert.That(page, Does.Not.Contain("tenant=\"b\"").And.Not.Contain("tenant=\"c\""));
    }

    private static (long Requests, long Prompt, long Cached, long Completion, double Saved) Figures(JsonElement savings)
        => (
            savings.GetProperty("requests").GetInt64(),
            savings.GetProperty("prompt_tokens").GetInt64(),
            savings.GetProperty("cached_tokens").GetInt64(),
            savings.GetProperty("completion_tokens").GetInt64(),
            savings.GetProperty("prefill_seconds_saved").GetDouble());

    private async Task AskAsync(string? tenant, int choices)
    {
        using var response = await SendAsync(HttpMethod.Post, "/v1/completions", tenant, choices);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        await response.Content.ReadAsStringAsync();
    }


    private async Task<JsonElement> SavingsAsync(string tenant)
    {
        using var response = await SendAsync(HttpMethod.Get, "/v1/savings", tenant);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        return JsonElement.Parse(await response.Content.ReadAsStringAsync());
    }

    private async Task<HttpResponseMessage> SendAsync(HttpMethod method, string path, string? tenant, int choices = 1)
    {
        using var request = new HttpRequestMessage(method, path);
        if (method == HttpMethod.Post)
        {
            request.Content = new StringContent(
                $"{{\"model\":\"test/kimi\",\"prompt\":\"abc\",\"max_tokens\":4,\"n\":{choices}}}", Encoding.UTF8,
                "application/json");
        }
        else
        {
            await UntilIdleAsync();
        }

        if (tenant is not null)
        {
            request.Headers.Add("x-tenant-id", tenant);
        }

        return await _gateway.Client.SendAsync(request);
    }

    /// <summary>A client may see its answer before the server has counted it.</summary>
    private async Task UntilIdleAsync()
    {
        using var limit = new CancellationTokenSource(RunningGateway.Patience);
        while (!(await _gateway.Client.GetStringAsync(new Uri("/metrics", UriKind.Relative), limit.Token))
            .Contains("mooncake_http_requests_in_flight 1\n", StringComparison.Ordinal))
        {
            limit.Token.ThrowIfCancellationRequested();
        }
    }
}
