using System.Text.Json;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Gateway.Tests.Contexts;

/// <summary>Contexts in a shared namespace, which may be closed to their tenant later.</summary>
[TestFixture]
internal sealed class ContextNamespaceTests
{
    private const string Question = "{'role':'user','content':'And 2+2?'}";

    private static readonly (string Name, string Value) Key = ("x-api-key", "secret-1");

    private TemporaryFolder _folder = null!;
    private ContextGateway _server = null!;

    [SetUp]
    public async Task StartAsync()
    {
        _folder = new TemporaryFolder();
        Write(",\"namespaces\":[\"team\"]");
        _server = await ContextGateway.StartAsync();
        await _server.RestartAsync(tenantsFile: _folder.File("tenants.json"));
    }

    [TearDown]
    public async Task StopAsync()
    {
        await _server.DisposeAsync();
        _folder.Dispose();
    }

    [Test]
    public async Task Use_OnceTheNamespaceIsClosed_IsForbidden()
    {
        var id = await CreateAsync(("x-cache-namespace", "team"));
        using (var open = await UseAsync(id))
        {
            await ContextGateway.JsonAsync(open, 200);
            Assert.That(_server.Generator.Requests[^1].CacheSalt, Is.EqualTo("namespace:4:team:"));
        }

        Close();
        using var closed = await UseAsync(id);

        var error = await ContextGateway.ErrorAsync(closed, 403);
        Assert.That(error.GetProperty("code").GetString(), Is.EqualTo("namespace_not_allowed"));
        Assert.That(error.GetProperty("message").GetString(), Does.Contain("'team'").And.Contain("acme"));
    }

    [Test]
    public async Task Change_OnceTheNamespaceIsClosed_PrefillsNothing()
    {
        var id = await CreateAsync(("x-cache-namespace", "team"));
        Close();

        using var response = await _server.SendAsync(HttpMethod.Put, $"/v1/caching/{id}", "{'ttl':9000}", Key);

        var changed = await ContextGateway.JsonAsync(response, 200);
        Assert.That(changed.GetProperty("status").GetString(), Is.EqualTo("error"));
        Assert.That(changed.GetProperty("error").GetProperty("type").GetString(), Is.EqualTo("permission_error"));
        Assert.That(_server.Generator.Requests, Has.Count.EqualTo(1), "the one of its creation");
    }

    [Test]
    public async Task Use_OfAContextOfTheTenantsOwn_GoesOn()
    {
        var id = await CreateAsync();
        Close();

        using var response = await UseAsync(id);

        await ContextGateway.JsonAsync(response, 200);
        Assert.That(_server.Generator.Requests[^1].CacheSalt, Is.EqualTo("tenant:4:acme:"));
    }

    private async Task<string> CreateAsync(params (string Name, string Value)[] headers)
    {
        using var response = await _server.SendAsync(
            HttpMethod.Post, "/v1/caching", $"{{'model':'test/kimi','messages':[{ContextGateway.Messages}]}}",
            [Key, .. headers]);
        JsonElement created = await ContextGateway.JsonAsync(response, 200);
        return created.GetProperty("id").GetString()!;
    }

    private Task<HttpResponseMessage> UseAsync(string id) => _server.ChatAsync(
        $"{{'role':'cache','content':'cache_id={id};reset_ttl=3600'}},{Question}", headers: Key);

    private void Close()
    {
        Write("");
        _server.Time.Advance(TimeSpan.FromSeconds(6));
    }

    private void Write(string more) => File.WriteAllText(
        _folder.File("tenants.json"),
        $"{{\"tenants\":[{{\"tenant\":\"acme\",\"api_key_sha256\":\"{TenantsFileTests.Hash("secret-1")}\"{more}}}]}}");
}
