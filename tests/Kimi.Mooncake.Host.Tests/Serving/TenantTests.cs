using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Models.Needle;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Host.Tests.Serving;

/// <summary>Two tenants with API keys of one server: real model, real store.</summary>
[TestFixture]
internal sealed class TenantTests
{
    private static readonly NeedleDocument Document = NeedleDocument.Create(2_000, 4, seed: 8);

    private TemporaryFolder _folder = null!;
    private MooncakeServer _server = null!;

    [OneTimeSetUp]
    public async Task Start()
    {
        _folder = new TemporaryFolder();
        NeedleModel.Write(_folder.Model);
        await File.WriteAllTextAsync(_folder.Tenants, TenantsFile("docs"));
        _server = await StartAsync();
    }

    [OneTimeTearDown]
    public async Task Stop()
    {
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }

        _folder.Dispose();
    }

    [Test]
    public async Task Chat_PromptThatAnotherTenantHasCached_IsComputedToItsLastToken()
    {
        // Arrange
        var prompt = Prompt("isolated");
        await AskAsync("key-a", null, prompt);
        var own = await AskAsync("key-a", null, prompt);

        // Act
        var other = await AskAsync("key-b", null, prompt);

        // Assert
        Assert.That(own.Cached, Is.GreaterThan(Document.Text.Length / 64 * 64 - 64));
        Assert.That(own.Computed, Is.EqualTo(own.Prompt - own.Cached));
        Assert.That(other.Cached, Is.Zero);
        Assert.That(other.Computed, Is.EqualTo(other.Prompt), "it takes what it takes whoever has it cached");
    }

    [Test]
    public async Task Chat_BothChoseTheSharedNamespace_FindWhatTheOtherCached()
    {
        var prompt = Prompt("shared");
        var first = await AskAsync("key-a", "docs", prompt);

        var second = await AskAsync("key-b", "docs", prompt);
        var own = await AskAsync("key-b", null, prompt);

        Assert.That(first.Cached, Is.Zero);
        Assert.That(second.Cached, Is.GreaterThan(Document.Text.Length / 64 * 64 - 64));
        Assert.That(own.Cached, Is.Zero, "what is shared is not its own");
    }

    [Test]
    public async Task Savings_OfATenant_AreWhatItsCacheSparedIt()
    {
        var prompt = Prompt("savings");
        var before = await SavingsAsync("key-a");
        var cold = await AskAsync("key-a", null, prompt);
        var warm = await AskAsync("key-a", null, prompt);

        var after = await SavingsAsync("key-a");

        Assert.That(after.Requests - before.Requests, Is.EqualTo(2));
        Assert.That(after.Prompt - before.Prompt, Is.EqualTo(cold.Prompt + warm.Prompt));
        Assert.That(after.Cached - before.Cached, Is.EqualTo(warm.Cached));
        Assert.That(after.Seconds - before.Seconds, Is.GreaterThan(0).And.LessThan(60));
    }

    [Test]
    public async Task Completions_WithoutAKey_AreRefused()
    {
        using var client = new CompletionClient(_server.Address);

        var fault = await Assert.ThrowsAsync<ServerException>(
            () => client.ModelIdAsync(CancellationToken.None));

        Assert.That(fault!.Status, Is.EqualTo((int)HttpStatusCode.Unauthorized));
        Assert.That(fault.Message, Does.Contain("No API key"));
    }

    [Test]
    public async Task Start_WrongTenantsFile_SaysWhatIsWrong()
    {
        using var folder = new TemporaryFolder();
        await File.WriteAllTextAsync(folder.Tenants, TenantsFile("no name"));

        var fault = await Assert.ThrowsAsync<SettingException>(() => StartAsync(folder.Tenants, folder.Store));

        Assert.That(
            fault!.Message,
            Does.StartWith($"setting tenants.file: tenants file '{folder.Tenants}', tenants[0].namespaces: 'no name'"));
    }

    private static string Prompt(string name) =>
        $"{name}: {Document.Text}\nComplete this sentence from the document:\n{Document.Facts[1].Question}";

    private static string TenantsFile(string ns) => JsonSerializer.Serialize(new
    {
        tenants = new[] { "a", "b" }.Select(name => new
        {
            tenant = name,
            api_key_sha256 = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"key-{name}"))),
            namespaces = new[] { ns },
            store_quota_bytes = 64 << 20,
        }),
    });

    private Task<MooncakeServer> StartAsync(string? tenants = null, string? store = null) => MooncakeServer.StartAsync(
        ResolvedSettings.Resolve(SettingSection.All, SettingSources.FromArguments(
        [
            "gateway.port=0", $"model.path={_folder.Model}", $"store.directory={store ?? _folder.Store}",
            $"tenants.file={tenants ?? _folder.Tenants}",
        ])),
        NullLoggerFactory.Instance,
        CancellationToken.None);

    /// <summary>What a request says of its prompt, and what the worker computed for it.</summary>
    private async Task<(int Prompt, int Cached, long Computed)> AskAsync(string key, string? ns, string prompt)
    {
        using var client = new CompletionClient(_server.Address, key, ns);
        var before = await ComputedAsync(client);
        var result = await Asker.AskAsync(
            client, new StreamRequest { Text = prompt, MaxTokens = 4 }, "", observe: null, CancellationToken.None);
        return (result.PromptTokens, result.CachedTokens, await ComputedAsync(client) - before);
    }

    private static async Task<long> ComputedAsync(CompletionClient client) =>
        (long)(await client.MetricsAsync(CancellationToken.None)).Get("mooncake_prefill_tokens_computed_total");

    private async Task<(long Requests, long Prompt, long Cached, double Seconds)> SavingsAsync(string key)
    {
        using var client = new CompletionClient(_server.Address, key);
        await UntilAnsweredAsync(client);
        var savings = await client.SavingsAsync(CancellationToken.None);
        return (
            savings.GetProperty("requests").GetInt64(), savings.GetProperty("prompt_tokens").GetInt64(),
            savings.GetProperty("cached_tokens").GetInt64(),
            savings.GetProperty("prefill_seconds_saved").GetDouble());
    }

    /// <summary>A client may see the end of its answer before the server has counted it.</summary>
    private static async Task UntilAnsweredAsync(CompletionClient client)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while ((await client.MetricsAsync(limit.Token)).Get("mooncake_http_requests_in_flight") > 1)
        {
            limit.Token.ThrowIfCancellationRequested();
        }
    }
}
