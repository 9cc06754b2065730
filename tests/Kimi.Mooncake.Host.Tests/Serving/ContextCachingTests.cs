using System.Net.Http.Json;
using System.Text.Json;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Models.Needle;
using Kimi.Mooncake.Tests;
using Microsoft.Extensions.Logging.Abstractions;
using TemporaryFolder = Kimi.Mooncake.Tests.TemporaryFolder;

namespace Kimi.Mooncake.Host.Tests.Serving;

/// <summary>Contexts that users create by name, with whole nodes: real model, real store, real files.</summary>
[TestFixture]
internal sealed class ContextCachingTests
{
    private const string Model = "moonshot-v1-8k";
    private const string ModelFamily = "moonshot-v1";
    private const int DocumentTokens = 2000;

    private static readonly NeedleDocument Document = NeedleDocument.Create(DocumentTokens, 6, seed: 11);
    private static readonly object[] Messages = [new { role = "system", content = Document.Text }];

    private TemporaryFolder _folder = null!;

    private string ModelFile => _folder.File("model.gguf");

    [SetUp]
    public void Prepare()
    {
        _folder = new TemporaryFolder();
        NeedleModel.Write(ModelFile);
    }

    [TearDown]
    public void Clear() => _folder.Dispose();

    [Test]
    public async Task CurlExamples_OfTheDocumentation_Work()
    {
        await using var server = await StartAsync();
        using var client = new ClientProgram("curl");
        await File.WriteAllTextAsync(
            Path.Combine(client.Folder, "request.json"),
            JsonSerializer.Serialize(new { model = ModelFamily, messages = Messages, name = "rooms", ttl = 3600 }));

        var (code, output) = await client.RunAsync(
            "sh", "contexts.sh", new Uri(server.Address, "/v1").ToString(), Model, "request.json",
            Document.Facts[0].Question, Document.Facts[0].Sentence);

        if (output.Contains("curl: not found", StringComparison.Ordinal))
        {
            Assert.Ignore($"skipped: curl cannot be started: {output}");
        }

        Assert.That(code, Is.Zero, output);
        Assert.That(output, Does.EndWith("ok\n").Or.StartsWith("ok\n"));
    }

    [Test]
    public async Task NodeClient_WithHeadersAndMessages_UsesAContext()
    {
        using var client = new ClientProgram("openai-node");
        await client.InstallNodePackagesAsync();
        await using var server = await StartAsync();
        await File.WriteAllTextAsync(Path.Combine(client.Folder, "document.txt"), Document.Text);

        var (code, output) = await client.RunAsync(
            "node", "contexts.mjs", new Uri(server.Address, "/v1").ToString(), Model, "document.txt",
            Document.Facts[1].Question, Document.Facts[1].Sentence);

        Assert.That(code, Is.Zero, output);
    }

    [Test]
    public async Task Restart_OfTheProcess_KeepsContextsAndTheirBlocks()
    {
        string id;
        string described;
        await using (var server = await StartAsync())
        {
            using var http = Client(server);
            id = await CreateAsync(http);
            described = await http.GetStringAsync($"/v1/caching/{id}");
        }

        await using var restarted = await StartAsync();
        using var after = Client(restarted);
        Assert.That(await after.GetStringAsync($"/v1/caching/{id}"), Is.EqualTo(described));
        var (answer, saved) = await AskAsync(after, $"cache_id={id}", fact: 2);
        Assert.That(answer, Is.EqualTo(Document.Facts[2].Sentence));
        Assert.That(saved, Is.GreaterThan(DocumentTokens * 9 / 10));
    }

    [Test]
    public async Task Blocks_ThatWereLost_ArePrefilledAgainByTheNextUse()
    {
        string id;
        await using (var server = await StartAsync())
        {
            using var http = Client(server);
            id = await CreateAsync(http);
        }

        Directory.Delete(_folder.File("store"), recursive: true);

        await using var restarted = await StartAsync();
        using var after = Client(restarted);
        var (first, savedFirst) = await AskAsync(after, $"cache_id={id}", fact: 3);
        await PinnedAsync(after, DocumentTokens / 64);
        var (second, savedSecond) = await AskAsync(after, $"cache_id={id}", fact: 4);
        var context = await after.GetFromJsonAsync<JsonElement>($"/v1/caching/{id}");
        Assert.That(first, Is.EqualTo(Document.Facts[3].Sentence));
        Assert.That(savedFirst, Is.Zero);
        Assert.That(second, Is.EqualTo(Document.Facts[4].Sentence));
        Assert.That(savedSecond, Is.GreaterThan(DocumentTokens * 9 / 10));
        Assert.That(context.GetProperty("status").GetString(), Is.EqualTo("ready"));
    }

    [Test]
    public async Task CacheControl_OnAMessage_PinsItsBlocks()
    {
        await using var server = await StartAsync();
        using var http = Client(server);

        var mark = new { type = "ephemeral", ttl = "1h" };
        using var response = await http.PostAsJsonAsync("/v1/chat/completions", new
        {
            model = Model,
            max_tokens = 1,
            messages = new object[]
            {
                new { role = "system", content = Document.Text, cache_control = mark },
                new { role = "user", content = "What does it say?" },
            },
        });

        Assert.That((int)response.StatusCode, Is.EqualTo(200), await response.Content.ReadAsStringAsync());
        await PinnedAsync(http, DocumentTokens / 64);
    }

    [Test]
    public async Task Cluster_OfTwoGateways_HasTheSameContextsAndKeepsThem()
    {
        var conductor = await StartAsync(
            "serve.role=conductor", "rpc.port=0", $"contexts.directory={_folder.File("contexts")}");
        await using var closed = conductor;
        var address = $"serve.conductor={conductor.Process.Rpc!.AbsoluteUri.TrimEnd('/')}";
        await using var node = await StartAsync(
            "serve.role=prefill,decode", "rpc.port=0", address, "worker.kv_pool_bytes=64MiB");
        await using var other = await StartAsync("serve.role=gateway", address);
        string id;
        await using (var gateway = await StartAsync("serve.role=gateway", address))
        {
            using var http = Client(gateway);
            await ReadyAsync(http);
            id = await CreateAsync(http);
        }

        using var elsewhere = Client(other);
        await ReadyAsync(elsewhere);
        var (answer, saved) = await AskAsync(elsewhere, $"cache_id={id};reset_ttl=60", fact: 5);
        var context = await elsewhere.GetFromJsonAsync<JsonElement>($"/v1/caching/{id}");

        Assert.That(answer, Is.EqualTo(Document.Facts[5].Sentence));
        Assert.That(saved, Is.GreaterThan(DocumentTokens * 9 / 10));
        Assert.That(context.GetProperty("status").GetString(), Is.EqualTo("ready"));
    }

    [Test]
    public async Task Node_WithoutAFolder_KeepsNoContexts()
    {
        await using var server = await StartAsync("store.directory=", "contexts.directory=");
        using var http = Client(server);

        using var response = await http.PostAsJsonAsync(
            "/v1/caching", new { model = ModelFamily, messages = Messages });

        Assert.That((int)response.StatusCode, Is.EqualTo(501));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain("contexts.directory"));
    }

    private static HttpClient Client(MooncakeServer server) =>
        new() { BaseAddress = server.Address, Timeout = TimeSpan.FromMinutes(2) };

    /// <summary>Waits until the gateway has workers.</summary>
    private static async Task ReadyAsync(HttpClient http)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        while (true)
        {
            using var response = await http.GetAsync("/health", limit.Token);
            if (response.IsSuccessStatusCode)
            {
                return;
            }

            await Task.Yield();
        }
    }

    /// <summary>Waits until the store holds on to so many blocks.</summary>
    private static async Task PinnedAsync(HttpClient http, int blocks)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        while (true)
        {
            var metrics = await http.GetStringAsync("/metrics", limit.Token);
            var line = metrics.Split('\n').Single(
                text => text.StartsWith("mooncake_store_soft_pinned_blocks ", StringComparison.Ordinal));
            if (int.Parse(line.Split(' ')[1], null) >= blocks)
            {
                return;
            }

            await Task.Yield();
        }
    }

    private static async Task<string> CreateAsync(HttpClient http)
    {
        using var response = await http.PostAsJsonAsync(
            "/v1/caching", new { model = ModelFamily, messages = Messages, ttl = 3600 });
        var body = await response.Content.ReadAsStringAsync();
        Assert.That((int)response.StatusCode, Is.EqualTo(200), body);
        var id = JsonElement.Parse(body).GetProperty("id").GetString()!;
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        while (true)
        {
            var context = await http.GetFromJsonAsync<JsonElement>($"/v1/caching/{id}", limit.Token);
            if (context.GetProperty("status").GetString() == "ready")
            {
                return id;
            }
        }
    }

    private static async Task<(string Answer, int Saved)> AskAsync(HttpClient http, string reference, int fact)
    {
        using var response = await http.PostAsJsonAsync("/v1/chat/completions", new
        {
            model = Model,
            temperature = 0,
            max_tokens = 100,
            messages = new object[]
            {
                new { role = "cache", content = reference },
                new
                {
                    role = "user",
                    content = $"Complete this sentence from the document:\n{Document.Facts[fact].Question}",
                },
            },
        });
        var body = await response.Content.ReadAsStringAsync();
        Assert.That((int)response.StatusCode, Is.EqualTo(200), body);
        var answer = JsonElement.Parse(body).GetProperty("choices")[0].GetProperty("message").GetProperty("content");
        var saved = response.Headers.GetValues("Msh-Context-Cache-Token-Saved").Single();
        return (answer.GetString()!, int.Parse(saved, null));
    }

    private async Task<MooncakeServer> StartAsync(params string[] settings)
    {
        string[] usual =
        [
            "gateway.port=0", $"model.path={ModelFile}", $"model.id={Model}", "worker.threads=2",
            "worker.kv_pool_bytes=64MiB",
        ];
        string[] alone = [$"store.directory={_folder.File("store")}", $"contexts.directory={_folder.File("contexts")}"];
        var resolved = ResolvedSettings.Resolve(
            SettingSection.All,
            SettingSources.FromArguments(
                [.. usual, .. settings.Any(setting => setting.StartsWith("serve.")) ? [] : alone, .. settings]));
        return await MooncakeServer.StartAsync(resolved, NullLoggerFactory.Instance, CancellationToken.None);
    }
}
