using System.Globalization;
using System.Text.RegularExpressions;

namespace Kimi.Mooncake.Gateway.Tests.Contexts;

/// <summary>Tags of contexts, and whose they are.</summary>
[TestFixture]
internal sealed class ContextTagTests
{
    private ContextGateway _server = null!;

    [SetUp]
    public async Task StartAsync() => _server = await ContextGateway.StartAsync();

    [TearDown]
    public async Task StopAsync() => await _server.DisposeAsync();

    [Test]
    public async Task Tags_SetListedReadAndDeleted_AreAsDocumented()
    {
        var first = (await _server.CreateAsync(more: ",'tags':['one']")).GetProperty("id").GetString();
        var second = (await _server.CreateAsync()).GetProperty("id").GetString();

        var set = await _server.OkAsync(
            HttpMethod.Post, "/v1/caching/refs/tags", $"{{'tag':'my-tag','cache_id':'{second}'}}");

        Assert.That(set.GetRawText(), Is.EqualTo(
            $"{{\"cache_id\":\"{second}\",\"created_at\":{_server.NowSeconds},\"object\":\"cache_object.tag\"," +
            "\"owned_by\":\"\",\"tag\":\"my-tag\"}"));
        var got = await _server.OkAsync(HttpMethod.Get, "/v1/caching/refs/tags/my-tag");
        Assert.That(got.GetRawText(), Is.EqualTo(set.GetRawText()));
        var content = await _server.OkAsync(HttpMethod.Get, "/v1/caching/refs/tags/one/content");
        Assert.That(content.GetProperty("id").GetString(), Is.EqualTo(first));
        var list = await _server.OkAsync(HttpMethod.Get, "/v1/caching/refs/tags?limit=5&order=asc");
        Assert.That(
            list.GetProperty("data").EnumerateArray().Select(tag => tag.GetProperty("tag").GetString()),
            Is.EqualTo(new[] { "one", "my-tag" }));
        for (var i = 0; i < 2; i++)
        {
            var deleted = await _server.OkAsync(HttpMethod.Delete, "/v1/caching/refs/tags/my-tag");
            Assert.That(deleted.GetRawText(), Is.EqualTo(
                "{\"deleted\":true,\"object\":\"cache_object.tag.deleted\",\"tag\":\"my-tag\"}"));
        }

        await AssertNotFoundAsync(HttpMethod.Get, "/v1/caching/refs/tags/my-tag");
        await AssertNotFoundAsync(
            HttpMethod.Post, "/v1/caching/refs/tags", "{'tag':'my-tag','cache_id':'cache-none'}");
    }

    [Test]
    public async Task Contexts_OfAnotherTenant_AreNotThere()
    {
        var id = (await _server.CreateAsync(more: ",'tags':['one']")).GetProperty("id").GetString();

        foreach (var path in new[] { $"/v1/caching/{id}", "/v1/caching/refs/tags/one" })
        {
            using var response = await _server.SendAsync(HttpMethod.Get, path, null, ("x-tenant-id", "b"));
            await ContextGateway.ErrorAsync(response, 404);
        }

        using var use = await _server.ChatAsync(
            "{'role':'cache','content':'tag=one'},{'role':'user','content':'x'}", "", ("x-tenant-id", "b"));
        await ContextGateway.ErrorAsync(use, 404);
    }

    private async Task AssertNotFoundAsync(HttpMethod method, string path, string? json = null)
    {
        using var response = await _server.SendAsync(method, path, json);

        var error = await ContextGateway.ErrorAsync(response, 404);
        Assert.That(error.GetProperty("type").GetString(), Is.EqualTo("resource_not_found_error"));
        Assert.That(error.GetProperty("code").GetString(), Is.EqualTo("context_not_found"));
    }

    [TestCase("/v1/caching?after=CHARS65", "after")]
    [TestCase("/v1/caching?before=CHARS65", "before")]
    [TestCase("/v1/caching?PAIRS17", "metadata")]
    [TestCase("/v1/caching?metadata[CHARS65]=v", "metadata")]
    [TestCase("/v1/caching?metadata[k]=CHARS513", "metadata")]
    [TestCase("/v1/caching/refs/tags?after=CHARS129", "after")]
    public async Task List_BeyondALimit_IsABadRequest(string path, string param)
    {
        var pairs = string.Join('&', Enumerable.Range(0, 17).Select(i => $"metadata[k{i}]=v"));
        path = Regex.Replace(path, "CHARS([0-9]+)", match => new string(
            'a', int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture))).Replace("PAIRS17", pairs);

        using var response = await _server.SendAsync(HttpMethod.Get, path);

        var error = await ContextGateway.ErrorAsync(response, 400);
        Assert.That(error.GetProperty("param").GetString(), Is.EqualTo(param));
    }

    [Test]
    public async Task Create_WithTooManyTags_IsABadRequest()
    {
        var tags = string.Join(',', Enumerable.Range(0, 1025).Select(i => $"'t{i}'"));

        using var response = await _server.SendAsync(
            HttpMethod.Post, "/v1/caching",
            $"{{'model':'test/kimi','messages':[{ContextGateway.Messages}],'tags':[{tags}]}}");

        var error = await ContextGateway.ErrorAsync(response, 400);
        Assert.That(error.GetProperty("param").GetString(), Is.EqualTo("tags"));
        Assert.That(error.GetProperty("message").GetString(), Does.Contain("1024").And.Contain("1025"));
    }
}
