using System.Net.Http.Json;
using System.Text.Json;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Processes;
using Kimi.Mooncake.Host.Tests.Commands;
using Kimi.Mooncake.Models.Needle;
using Kimi.Mooncake.Transfer;
using TemporaryFolder = Kimi.Mooncake.Tests.TemporaryFolder;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>A cluster of processes that prove themselves with certificates, and send spans to a collector.</summary>
[TestFixture]
internal sealed class SecuredClusterTests
{
    private const string Fact = "The passcode of Aurora is 7319-KESTREL.";
    private const string Trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    private const string Parent = "00f067aa0ba902b7";

    [Test]
    public async Task Cluster_WithCertificatesAndACollector_AnswersInOneTraceOfAllProcesses()
    {
        using var folder = new TemporaryFolder();
        TestAuthority.Write(folder.File("tls"), [], TimeProvider.System.GetUtcNow().AddHours(-1), TimeSpan.FromDays(1));
        var (node, client) = (Path.Combine(folder.File("tls"), "node"), Path.Combine(folder.File("tls"), "client"));
        NeedleModel.Write(folder.File("model.gguf"));
        var collector = new SpanCollector();
        await using var collecting = await collector.ServeAsync();
        await using var cluster = await StartAsync(folder, node, collecting.Address);

        var answer = await AskAsync(cluster.Gateway);
        var spans = await collector.UntilAsync(Trace, 6);
        var conductor = cluster.Conductor!.AbsoluteUri.TrimEnd('/');
        var known = await CommandRun.OfAsync("top", "--json", "--conductor", conductor, "--tls", client);
        var unknown = await CommandRun.OfAsync("top", "--json", "--conductor", conductor);

        Assert.That(answer, Is.EqualTo(Fact));
        Assert.That(spans.Select(span => $"{span.Node} {span.Name}"), Is.EquivalentTo(new[]
        {
            "gateway request", "gateway route", "decode decode", "decode import", "prefill prefill",
            "prefill hand-over",
        }));
        Assert.That(spans.Single(span => span.Name == "request").ParentId, Is.EqualTo(Parent));
        Assert.That(conductor, Does.StartWith("https://"));
        Assert.That(known.Code, Is.EqualTo(ExitCode.Ok), known.Error);
        Assert.That(known.Output, Does.Contain("prefill").And.Contain("decode"));
        Assert.That(unknown.Code, Is.EqualTo(ExitCode.Usage));
        Assert.That(unknown.Error, Does.Contain("peer.tls"));
    }

    private static async Task<RunningCluster> StartAsync(TemporaryFolder folder, string certificates, Uri collector)
    {
        var file = folder.File("cluster.json");
        await File.WriteAllTextAsync(file, JsonSerializer.Serialize(new
        {
            settings = new Dictionary<string, object>
            {
                ["logging.level"] = "information",
                ["worker.threads"] = 1,
                ["worker.kv_pool_bytes"] = "64MiB",
                ["conductor.local_prefill_seconds_max"] = 0,
                ["peer.tls"] = certificates,
                ["telemetry.otlp_endpoint"] = collector.AbsoluteUri,
                ["telemetry.send_interval_ms"] = 100,
            },
            processes = new[]
            {
                new { name = "gateway", role = "gateway" },
                new { name = "prefill", role = "prefill" },
                new { name = "decode", role = "decode" },
            },
        }));
        return await RunningCluster.StartAsync(
            ClusterConfigReader.Read(file),
            new ClusterPlace { Folder = folder.Path, Model = folder.File("model.gguf") }, CancellationToken.None);
    }

    private static async Task<string?> AskAsync(Uri gateway)
    {
        using var http = new HttpClient { BaseAddress = gateway };
        using var message = new HttpRequestMessage(HttpMethod.Post, "v1/chat/completions")
        {
            Content = JsonContent.Create(new
            {
                model = "kimi-needle",
                max_tokens = 100,
                messages = new[]
                {
                    new { role = "user", content = $"{Fact}\nComplete this sentence:\nThe passcode of Aurora is" },
                },
            }),
            Headers = { { "traceparent", $"00-{Trace}-{Parent}-01" } },
        };
        using var response = await http.SendAsync(message);
        var body = await response.Content.ReadAsStringAsync();
        Assert.That(response.IsSuccessStatusCode, Is.True, body);
        using var parsed = JsonDocument.Parse(body);
        return parsed.RootElement.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString();
    }
}
