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
        var tenant = new string('t', 120);

        using var response = await AskAsync([tenant]);

        Assert.That(_gateway.Generator.Requests.Select(r => r.Tenant), Is.EqualTo(new[] { tenant }));
    }

    [Test]
    public async Task Salt_OfCallersThatMayNotShare_DiffersAndOfOthersIsTheSame()
    {
        (string? Tenant, string? Namespace, string Own)[] callers =
        [
            (null, null, ""), ("a", null, ""), ("b", null, ""), ("a", null, "x"), (null, null, "x"),
            (null, "a", ""), (null, null, "tenant:1:a:"), (null, null, "own:x"), ("a:", null, ""), ("a", null, ":"),
            (null, "shared", ""), ("namespace", null, ""),
        ];
        foreach (var caller in callers)
        {
            using var response = await AskAsync(caller);
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        }

        var salts = _gateway.Generator.Requests.Select(request => request.CacheSalt).ToArray();
        Assert.That(salts, Is.Unique);
        Assert.That(salts[0], Is.Empty, "a server of one user");

        using (await AskAsync(("a", "shared", "")))
        using (await AskAsync(("b", "shared", "")))
        using (await AskAsync(("a", null, "")))
        {
            var again = _gateway.Generator.Requests.Skip(callers.Length).ToArray();
            Assert.That(again.Select(request => request.CacheSalt), Is.EqualTo([salts[10], salts[10], salts[1]]));
            Assert.That(again.Select(request => request.Tenant), Is.EqualTo(["a", "b", "a"]));
        }
    }

    [Test]
    public async Task Salt_OfAConversation_IsThatOfATextToo()
    {
        using (await AskAsync(("a", null, "x")))
        using (var request = new HttpRequestMessage(HttpMethod.Post, "/v1/chat/completions"))
        {
            request.Headers.Add("x-tenant-id", "a");
            request.Content = new StringContent(
                "{\"model\":\"test/kimi\",\"cache_salt\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
                Encoding.UTF8, "application/json");
            using var response = await _gateway.Client.SendAsync(request);
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        }

        Assert.That(_gateway.Generator.Requests.Select(request => request.CacheSalt), Is.All.EqualTo("tenant:1:a:x"));
    }

    [Test]
    public async Task Salt_OfItsOwnTooLong_IsABadRequest()
    {
        using var longest = await AskAsync((null, null, new string('s', 3840)));
        using var tooLong = await AskAsync((null, null, new string('s', 3841)));

        Assert.That(longest.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        Assert.That(tooLong.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest));
        Assert.That(
            await tooLong.Content.ReadAsStringAsync(),
            Does.Contain("\"param\":\"cache_salt\"").And.Contain("3840"));
    }

    [Test]
    public async Task Namespace_NoName_IsABadRequest()
    {
        using var response = await AskAsync((null, "two words", ""));

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain("x-cache-namespace"));
    }

    [TestCase("")]
    [TestCase("two words")]
    [TestCase("semi;colon")]
    [TestCase("a,b")]
    public async Task Tenant_NoName_IsABadRequest(string tenant) => await AssertRefusedAsync([tenant]);

    [Test]
    public async Task Tenant_TooLong_IsABadRequest() => await AssertRefusedAsync([new string('t', 121)]);

    [Test]
    public async Task Tenant_Twice_IsABadRequest() => await AssertRefusedAsync(["a", "b"]);

    private async Task AssertRefusedAsync(string[] tenants)
    {
        using var response = await AskAsync(tenants);

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest));
        var error = JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("error");
        Assert.That(error.GetProperty("param").GetString(), Is.EqualTo("x-tenant-id"));
        Assert.That(error.GetProperty("message").GetString(), Does.Contain("120"));
        Assert.That(_gateway.Generator.Requests, Is.Empty);
    }

    private async Task<HttpResponseMessage> AskAsync((string? Tenant, string? Namespace, string Own) caller)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/completions")
        {
            Content = new StringContent(
                $"{{\"model\":\"test/kimi\",\"prompt\":\"hi\",\"cache_salt\":\"{caller.Own}\"}}", Encoding.UTF8,
                "application/json"),
        };
        if (caller.Tenant is not null)
        {
            request.Headers.Add("x-tenant-id", caller.Tenant);
        }

        if (caller.Namespace is not null)
        {
            request.Headers.Add("x-cache-namespace", caller.Namespace);
        }

        return await _gateway.Client.SendAsync(request);
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
