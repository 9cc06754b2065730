using System.Diagnostics;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Gateway.Tests.Contexts;

/// <summary>Requests that use a context, by headers or by a message that stands for it.</summary>
[TestFixture]
internal sealed class ContextUseTests
{
    private const string Question = "{'role':'user','content':'And 2+2?'}";

    private static readonly int[] ContextTokens =
        ContextGateway.TokensOf(("system", "You are Kimi."), ("user", "1+1?"));

    private ContextGateway _server = null!;

    private GenerationRequest LastRequest => _server.Generator.Requests[^1];

    [SetUp]
    public async Task StartAsync() => _server = await ContextGateway.StartAsync(
        new GatewayOptions { StreamStartMs = 1000, StreamKeepAliveSeconds = 15 });

    [TearDown]
    public async Task StopAsync() => await _server.DisposeAsync();

    [Test]
    public async Task Headers_WithTheMessagesRepeated_SayWhatWasSaved()
    {
        var id = await CreateAsync(",'ttl':600");

        using var response = await AskAsync(
            $"{ContextGateway.Messages},{Question}", ("X-Msh-Context-Cache", id));

        Assert.That(ContextGateway.HeadersOf(response), Is.EqualTo(new Dictionary<string, string>
        {
            ["Id"] = id,
            ["Token-Saved"] = "9",
            ["Token-Ttl"] = "600",
            ["Token-Exp"] = $"{_server.NowSeconds + 600}",
        }));
        Assert.That(LastRequest.PromptTokens.Take(ContextTokens.Length), Is.EqualTo(ContextTokens));
        AssertKept(600);
    }

    [Test]
    public async Task Saved_OfALongerHit_IsNoMoreThanTheContextHas()
    {
        var id = await CreateAsync();
        _server.Generator.CachedTokens = ContextTokens.Length + 5;

        using var response = await AskAsync(
            $"{ContextGateway.Messages},{Question}", ("X-Msh-Context-Cache", id));

        Assert.That(ContextGateway.HeadersOf(response)["Token-Saved"], Is.EqualTo($"{ContextTokens.Length}"));
    }

    [TestCase("cache_id={0}")]
    [TestCase("tag=my-tag")]
    [TestCase("cache_id={0};reset_ttl=3600;dry_run=0")]
    [TestCase("tag=my-tag;reset_ttl=3600")]
    public async Task Message_ThatStandsForAContext_IsReplaced(string content)
    {
        var id = await CreateAsync(",'tags':['my-tag'],'cache_salt':'s'");

        using var response = await AskAsync(
            $"{{'role':'cache','content':'{string.Format(null, content, id)}'}},{Question}");

        Assert.That(ContextGateway.HeadersOf(response)["Id"], Is.EqualTo(id));
        Assert.That(
            LastRequest.PromptTokens.Take(ContextTokens.Length + 10),
            Is.EqualTo(ContextGateway.TokensOf(
                ("system", "You are Kimi."), ("user", "1+1?"), ("user", "And 2+2?")).Take(ContextTokens.Length + 10)));
        Assert.That(LastRequest.CacheSalt, Is.EqualTo("own:s"));
        AssertKept(3600);
    }

    [Test]
    public async Task Message_WithNothingAfterIt_IsAConversationToo()
    {
        var id = await CreateAsync();

        using var response = await AskAsync($"{{'role':'cache','content':'cache_id={id}'}}");

        Assert.That(LastRequest.PromptTokens.Take(ContextTokens.Length), Is.EqualTo(ContextTokens));
    }

    [TestCase("{'role':'system','content':'You are Kimi!'},{'role':'user','content':'1+1?'}")]
    [TestCase("{'role':'system','content':'You are Kimi.'}")]
    [TestCase("{'role':'user','content':'You are Kimi.'},{'role':'user','content':'1+1?'}")]
    [TestCase("{'role':'user','content':'1+1?'},{'role':'system','content':'You are Kimi.'}")]
    [TestCase("{'role':'system','content':'You are Kimi.','name':'x'},{'role':'user','content':'1+1?'}")]
    public async Task Headers_WithOtherMessages_AreAnsweredWithoutTheContext(string messages)
    {
        var id = await CreateAsync();

        using var response = await AskAsync(messages, ("X-Msh-Context-Cache", id));

        Assert.That(ContextGateway.HeadersOf(response), Is.Empty);
        Assert.That(LastRequest.Retain, Is.Empty);
    }

    [Test]
    public async Task ResetTtl_OfASuccessfulRequest_MovesTheExpiry()
    {
        var id = await CreateAsync(",'ttl':100");
        _server.Time.Advance(TimeSpan.FromSeconds(50));

        using var response = await AskAsync(
            $"{ContextGateway.Messages},{Question}", ("X-Msh-Context-Cache", id),
            ("X-Msh-Context-Cache-Reset-TTL", "700"));

        Assert.That(ContextGateway.HeadersOf(response)["Token-Ttl"], Is.EqualTo("700"));
        AssertKept(700);
        var context = await _server.OkAsync(HttpMethod.Get, $"/v1/caching/{id}");
        Assert.That(context.GetProperty("expired_at").GetInt64(), Is.EqualTo(_server.NowSeconds + 700));
    }

    [Test]
    public async Task ResetTtl_OfARequestThatFails_ChangesNothing()
    {
        var id = await CreateAsync(",'ttl':100");
        _server.Generator.Refusal = new Cluster.QueueFullException(1, 1);

        using var response = await _server.ChatAsync(
            $"{{'role':'cache','content':'cache_id={id};reset_ttl=700'}},{Question}");

        await ContextGateway.ErrorAsync(response, 429);
        Assert.That(ContextGateway.HeadersOf(response), Is.Empty);
        var context = await _server.OkAsync(HttpMethod.Get, $"/v1/caching/{id}");
        Assert.That(context.GetProperty("expired_at").GetInt64(), Is.EqualTo(_server.NowSeconds + 100));
    }

    [Test]
    public async Task Expired_Context_IsAnsweredWithoutItsUse()
    {
        var id = await CreateAsync(",'ttl':60");
        _server.Time.Advance(TimeSpan.FromSeconds(60));

        using var response = await AskAsync($"{{'role':'cache','content':'cache_id={id}'}},{Question}");

        Assert.That(ContextGateway.HeadersOf(response), Is.Empty);
        Assert.That(LastRequest.PromptTokens.Take(ContextTokens.Length), Is.EqualTo(ContextTokens));
        Assert.That(LastRequest.Retain, Is.Empty);
    }

    [Test]
    public async Task Expired_ContextWithResetTtl_IsEnabledAgain()
    {
        var id = await CreateAsync(",'ttl':60");
        _server.Time.Advance(TimeSpan.FromSeconds(60));

        using var response = await AskAsync($"{{'role':'cache','content':'cache_id={id};reset_ttl=40'}},{Question}");

        Assert.That(ContextGateway.HeadersOf(response)["Token-Ttl"], Is.EqualTo("40"));
        AssertKept(40);
        var context = await _server.OkAsync(HttpMethod.Get, $"/v1/caching/{id}");
        Assert.That(context.GetProperty("status").GetString(), Is.EqualTo("ready"));
    }

    [Test]
    public async Task Pending_Context_IsReadyAfterItsUse()
    {
        _server.Generator.Refusal = new Cluster.QueueFullException(1, 1);
        var id = await CreateAsync();
        _server.Generator.Refusal = null;

        using var response = await AskAsync($"{{'role':'cache','content':'cache_id={id}'}},{Question}");

        Assert.That(ContextGateway.HeadersOf(response)["Id"], Is.EqualTo(id));
        var context = await _server.OkAsync(HttpMethod.Get, $"/v1/caching/{id}");
        Assert.That(context.GetProperty("status").GetString(), Is.EqualTo("ready"));
    }

    [Test]
    public async Task Lost_Blocks_AreComputedAndKeptAgain()
    {
        var id = await CreateAsync();
        _server.Generator.CachedTokens = 0;

        using var response = await AskAsync($"{{'role':'cache','content':'cache_id={id}'}},{Question}");

        Assert.That(ContextGateway.HeadersOf(response)["Token-Saved"], Is.EqualTo("0"));
        AssertKept(3600);
    }

    [Test]
    public async Task Stream_UsingAContext_BeginsWhenItIsKnownWhatWasSaved()
    {
        var id = await CreateAsync();
        var prefill = new TaskCompletionSource();
        _server.Generator.Prefill = _ => prefill.Task;

        var asking = _server.ChatAsync(
            $"{{'role':'cache','content':'cache_id={id}'}},{Question}", ",'stream':true");
        await RequestsAsync(2);
        _server.Time.Advance(TimeSpan.FromSeconds(10));
        prefill.SetResult();
        using var response = await asking;

        Assert.That(ContextGateway.HeadersOf(response)["Token-Saved"], Is.EqualTo("9"));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.EndWith("data: [DONE]\n\n"));
    }

    [Test]
    public async Task Stream_UsingAContextWhoseBlocksTakeLong_BeginsWithoutThatHeader()
    {
        var id = await CreateAsync();
        var prefill = new TaskCompletionSource();
        _server.Generator.Prefill = _ => prefill.Task;

        var asking = _server.ChatAsync(
            $"{{'role':'cache','content':'cache_id={id}'}},{Question}", ",'stream':true");
        await RequestsAsync(2);
        _server.Time.Advance(TimeSpan.FromSeconds(15));
        using var response = await asking;
        prefill.SetResult();

        Assert.That(
            ContextGateway.HeadersOf(response).Keys, Is.EquivalentTo(new[] { "Id", "Token-Ttl", "Token-Exp" }));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.EndWith("data: [DONE]\n\n"));
    }

    [Test]
    public async Task SeveralChoices_OfAContext_AreAllKept()
    {
        var id = await CreateAsync();

        using var response = await _server.ChatAsync(
            $"{{'role':'cache','content':'cache_id={id}'}},{Question}", ",'n':3");

        var answer = await ContextGateway.JsonAsync(response, 200);
        Assert.That(answer.GetProperty("choices").GetArrayLength(), Is.EqualTo(3));
        Assert.That(ContextGateway.HeadersOf(response)["Token-Saved"], Is.EqualTo("9"));
        Assert.That(_server.Generator.Requests.Skip(1).Select(request => request.Retain.Count), Is.All.EqualTo(1));
    }

    [Test]
    public async Task Salt_OtherThanTheContexts_IsNotMixedWithIt()
    {
        var id = await CreateAsync(",'cache_salt':'s'");

        using var response = await _server.ChatAsync(
            $"{ContextGateway.Messages},{Question}", ",'cache_salt':'other'", ("X-Msh-Context-Cache", id));

        await ContextGateway.JsonAsync(response, 200);
        Assert.That(ContextGateway.HeadersOf(response), Is.Empty);
        Assert.That(LastRequest.CacheSalt, Is.EqualTo("own:other"));
    }

    [Test]
    public async Task Namespace_OfTheCreation_IsSharedByEveryUse()
    {
        using var creation = await _server.SendAsync(
            HttpMethod.Post, "/v1/caching", $"{{'model':'test/kimi','messages':[{ContextGateway.Messages}]}}",
            ("x-cache-namespace", "team"));
        var id = (await ContextGateway.JsonAsync(creation, 200)).GetProperty("id").GetString();
        var message = $"{{'role':'cache','content':'cache_id={id}'}},{Question}";

        using var plain = await AskAsync(message);
        using var same = await AskAsync(message, ("x-cache-namespace", "team"));
        using var other = await AskAsync(message, ("x-cache-namespace", "others"));

        Assert.That(
            _server.Generator.Requests.Select(request => request.CacheSalt),
            Is.EqualTo(new[]
            {
                "namespace:4:team:", "namespace:4:team:", "namespace:4:team:", "namespace:6:others:",
            }));
        Assert.That(ContextGateway.HeadersOf(plain)["Id"], Is.EqualTo(id));
        Assert.That(ContextGateway.HeadersOf(same)["Id"], Is.EqualTo(id));
        Assert.That(ContextGateway.HeadersOf(other), Is.Empty);
    }

    [Test]
    public async Task Metrics_AfterAUse_CountIt()
    {
        var id = await CreateAsync();
        using var response = await AskAsync($"{{'role':'cache','content':'cache_id={id}'}},{Question}");

        var metrics = await _server.Gateway.Client.GetStringAsync("/metrics");

        Assert.That(metrics, Does.Contain("mooncake_gateway_context_uses_total 1\n"));
        Assert.That(metrics, Does.Contain("mooncake_gateway_context_tokens_saved_total 9\n"));
    }

    private async Task<string> CreateAsync(string more = "") =>
        (await _server.CreateAsync(more: more)).GetProperty("id").GetString()!;

    private async Task<HttpResponseMessage> AskAsync(
        string messages, params (string Name, string Value)[] headers)
    {
        var response = await _server.ChatAsync(messages, "", headers);
        var answer = await ContextGateway.JsonAsync(response, 200);
        Assert.That(
            answer.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString(),
            Is.EqualTo("Hello, world"));
        return response;
    }

    private async Task RequestsAsync(int count)
    {
        var begun = Stopwatch.GetTimestamp();
        while (_server.Generator.Requests.Count < count)
        {
            Assert.That(Stopwatch.GetElapsedTime(begun), Is.LessThan(RunningGateway.Patience));
            await Task.Yield();
        }
    }

    private void AssertKept(int seconds) => Assert.That(LastRequest.Retain, Is.EqualTo(new[]
    {
        new RetainedPrefix(ContextTokens.Length, new BlockRetention(PinKind.Soft, seconds), BlockClass.Context),
    }));
}
