using System.Net;
using System.Text;
using System.Text.Json;

namespace Kimi.Mooncake.Gateway.Tests;

/// <summary>For whom a request is made.</summary>
[TestFixture]
internal sealed class TenantTests
{
    private RunningGateway _gateway = null!;

    [SetUp]
    public async Task StartAsync() => _gateway = await RunningGateway.StartAsync();

    [TearDown]
    public async Task StopAsync() => await _gateway.DisposeAsync();

    [TestCase(null, "")]
    [TestCase("a", "a")]
    [TestCase("team-7.prod@eu/x:1_y", "team-7.prod@eu/x:1_y")]
    public async Task Tenant_InTheHeader_ReachesTheWorker(string? header, string tenant)
    {
        using var response = await AskAsync(header is null ? [] : [header]);

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        Assert.That(_gateway.Generator.Requests.Select(r => r.Tenant), Is.EqualTo(new[] { tenant }));
    }

    [Test]
    public async Task Tenant_OfTheGreatestLength_ReachesTheWorker()
    {
        var tenant = new string('t', 128);

        using var response = await AskAsync([tenant]);

        Assert.That(_gateway.Generator.Requests.Select(r => r.Tenant), Is.EqualTo(new[] { tenant }));
    }

    [TestCase("")]
    [TestCase("two words")]
    [TestCase("semi;colon")]
    [TestCase("a,b")]
    public async Task Tenant_NoName_IsABadRequest(string tenant) => await AssertRefusedAsync([tenant]);

    [Test]
    public async Task Tenant_TooLong_IsABadRequest() => await AssertRefusedAsync([new string('t', 129)]);

    [Test]
    public async Task Tenant_Twice_IsABadRequest() => await AssertRefusedAsync(["a", "b"]);

    private async Task AssertRefusedAsync(string[] tenants)
    {
        using var response = await AskAsync(tenants);

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest));
        var error = JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("error");
        Assert.That(error.GetProperty("param").GetString(), Is.EqualTo("x-tenant-id"));
        Assert.That(error.GetProperty("message").GetString(), Does.Contain("128"));
        Assert.That(_gateway.Generator.Requests, Is.Empty);
    }

    private async Task<HttpResponseMessage> AskAsync(string[] tenants)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/completions")
        {
            Content = new StringContent(
                "{\"model\":\"test/kimi\",\"prompt\":\"hi\"}", Encoding.UTF8, "application/json"),
        };
        foreach (var tenant in tenants)
        {
            Assert.That(request.Headers.TryAddWithoutValidation("x-tenant-id", tenant));
        }

        return await _gateway.Client.SendAsync(request);
    }
}
