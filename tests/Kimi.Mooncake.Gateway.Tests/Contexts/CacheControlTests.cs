using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Gateway.Tests.Contexts;

/// <summary>Marks in a conversation up to which it is to be kept.</summary>
[TestFixture]
internal sealed class CacheControlTests
{
    private const string Mark = "'cache_control':{'type':'ephemeral'}";

    private ContextGateway _server = null!;

    [SetUp]
    public async Task StartAsync() => _server = await ContextGateway.StartAsync();

    [TearDown]
    public async Task StopAsync() => await _server.DisposeAsync();

    [TestCase("{'type':'ephemeral'}", 300)]
    [TestCase("{'type':'ephemeral','ttl':'5m'}", 300)]
    [TestCase("{'type':'ephemeral','ttl':'1h'}", 3600)]
    public async Task Message_Marked_IsKeptUpToItsEnd(string mark, int seconds)
    {
        var request = await AskAsync(
            $"{{'role':'system','content':'Be brief.','cache_control':{mark}}},{{'role':'user','content':'hi'}}");

        var kept = ContextGateway.TokensOf(("system", "Be brief."));
        Assert.That(request.Retain, Is.EqualTo(new[] { Prefix(kept.Length, seconds) }));
        Assert.That(request.PromptTokens.Take(kept.Length), Is.EqualTo(kept));
    }

    [Test]
    public async Task Part_Marked_IsKeptUpToItsEnd()
    {
        var request = await AskAsync(
            $"{{'role':'system','content':[{{'type':'text','text':'A document. ',{Mark}}}," +
            "{'type':'text','text':'A note.'}]},{'role':'user','content':'hi'}");

        // The system message up to the part; its end mark comes only after the note.
        var kept = ContextGateway.TokensOf(("system", "A document. "))[..^1];
        Assert.That(request.Retain, Is.EqualTo(new[] { Prefix(kept.Length, 300) }));
        Assert.That(request.PromptTokens.Take(kept.Length), Is.EqualTo(kept));
    }

    [Test]
    public async Task LastPart_Marked_IsKeptUpToTheMessagesEnd()
    {
        var request = await AskAsync(
            "{'role':'user','content':'hi'},{'role':'assistant','content':'ho'}," +
            $"{{'role':'user','content':[{{'type':'text','text':'A'}},{{'type':'text','text':'B',{Mark}}}]}}");

        var kept = ContextGateway.TokensOf(("user", "hi"), ("assistant", "ho"), ("user", "AB"));
        Assert.That(request.Retain, Is.EqualTo(new[] { Prefix(kept.Length, 300) }));
    }

    [Test]
    public async Task Request_Marked_IsKeptUpToItsLastMessage()
    {
        var request = await AskAsync("{'role':'user','content':'hi'}", $",{Mark}");

        Assert.That(
            request.Retain, Is.EqualTo(new[] { Prefix(ContextGateway.TokensOf(("user", "hi")).Length, 300) }));
    }

    [Test]
    public async Task Marks_FourOfThem_AreAllKept()
    {
        var request = await AskAsync(
            string.Join(',', Enumerable.Range(0, 4).Select(i => $"{{'role':'user','content':'{i}',{Mark}}}")));

        Assert.That(request.Retain, Has.Count.EqualTo(4));
        Assert.That(request.Retain.Select(prefix => prefix.Tokens), Is.Ordered.Ascending);
    }

    [Test]
    public async Task Marks_FiveOfThem_AreRefused()
    {
        using var response = await _server.ChatAsync(
            string.Join(',', Enumerable.Range(0, 5).Select(i => $"{{'role':'user','content':'{i}',{Mark}}}")));

        var error = await ContextGateway.ErrorAsync(response, 400);
        Assert.That(error.GetProperty("param").GetString(), Is.EqualTo("messages[4].cache_control"));
        Assert.That(error.GetProperty("message").GetString(), Does.Contain("at most 4"));
    }

    [Test]
    public async Task Mark_AfterAContext_IsKeptBesideIt()
    {
        var id = (await _server.CreateAsync()).GetProperty("id").GetString();

        var request = await AskAsync(
            $"{{'role':'cache','content':'cache_id={id}'}},{{'role':'user','content':'hi',{Mark}}}");

        var context = ContextGateway.TokensOf(("system", "You are Kimi."), ("user", "1+1?"));
        var marked = ContextGateway.TokensOf(("system", "You are Kimi."), ("user", "1+1?"), ("user", "hi"));
        Assert.That(
            request.Retain, Is.EqualTo(new[] { Prefix(context.Length, 3600), Prefix(marked.Length, 300) }));
    }

    [TestCase("'ephemeral'", "messages[0].cache_control")]
    [TestCase("{}", "messages[0].cache_control.type")]
    [TestCase("{'type':'forever'}", "messages[0].cache_control.type")]
    [TestCase("{'type':'ephemeral','ttl':'2h'}", "messages[0].cache_control.ttl")]
    [TestCase("{'type':'ephemeral','ttl':300}", "messages[0].cache_control.ttl")]
    public async Task Mark_NotAsItMustBe_IsRefusedByName(string mark, string param)
    {
        using var response = await _server.ChatAsync($"{{'role':'user','content':'hi','cache_control':{mark}}}");

        var error = await ContextGateway.ErrorAsync(response, 400);
        Assert.That(error.GetProperty("param").GetString(), Is.EqualTo(param));
    }

    [Test]
    public async Task PromptCacheKey_OfOpenAi_ChangesNothing()
    {
        var request = await AskAsync(
            "{'role':'user','content':'hi'}", ",'prompt_cache_key':'k','prompt_cache_retention':'24h'");

        Assert.That(request.Retain, Is.Empty);
        Assert.That(request.CacheSalt, Is.Empty);
    }

    private static RetainedPrefix Prefix(int tokens, int seconds) =>
        new(tokens, new BlockRetention(PinKind.Soft, seconds), BlockClass.Context);

    private async Task<GenerationRequest> AskAsync(string messages, string more = "")
    {
        using var response = await _server.ChatAsync(messages, more);
        await ContextGateway.JsonAsync(response, 200);
        return _server.Generator.Requests[^1];
    }
}
