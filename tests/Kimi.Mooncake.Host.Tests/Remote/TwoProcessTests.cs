using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Tests.Commands;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>A gateway and a worker as two real processes, spoken to over HTTP.</summary>
[TestFixture]
internal sealed class TwoProcessTests
{
    private const string Fact = "The passcode of Aurora is 7319-KESTREL.";
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private string _folder = "";
    private string _model = "";

    [OneTimeSetUp]
    public async Task BuildModel()
    {
        _folder = Directory.CreateTempSubdirectory("mooncake-two").FullName;
        _model = Path.Combine(_folder, "model.gguf");
        await CommandRun.OfAsync("model", "build", "--output", _model);
    }

    [OneTimeTearDown]
    public void DeleteModel() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task Gateway_WorkerKilledDuringAStream_SaysSoAndGoesOnWithTheNext()
    {
        await using var first = await WorkerProcess.StartAsync(_model);
        await using var gateway = await ChildServer.StartAsync(
            ["--role", "gateway", "--model", _model, "--worker", first.Address.AbsoluteUri.TrimEnd('/')],
            CancellationToken.None);
        // A client that leaves closes its connection at once, instead of reading on for a while.
        using var handler = new SocketsHttpHandler { ResponseDrainTimeout = TimeSpan.Zero };
        using var http = new HttpClient(handler) { BaseAddress = gateway.Client.Address, Timeout = Patience };
        var limit = new CancellationTokenSource(Patience).Token;

        Assert.That(await AskAsync(http), Is.EqualTo(Fact));

        await CancelReachesTheWorkerAsync(http, first.Address, limit);

        var tail = await KillDuringAStreamAsync(http, first, limit);
        Assert.That(tail, Does.Contain("\"error\"").And.Contain("lost its worker"));
        Assert.That(tail, Does.Not.Contain("[DONE]"));
        var (code, reason) = await HealthAsync(http, HttpStatusCode.ServiceUnavailable, limit);
        Assert.That(code, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
        Assert.That(reason, Does.Contain(first.Address.AbsoluteUri.TrimEnd('/')));
        using var refused = await http.PostAsJsonAsync("v1/chat/completions", Question(), limit);
        Assert.That(refused.StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));

        await using var second = await WorkerProcess.StartAsync(_model, first.Address.Port);
        Assert.That((await HealthAsync(http, HttpStatusCode.OK, limit)).Code, Is.EqualTo(HttpStatusCode.OK));
        Assert.That(await AskAsync(http), Is.EqualTo(Fact));
    }

    [Test]
    public async Task Gateway_OfAnotherModelFile_SaysBothFingerprintsAndEnds()
    {
        var other = Path.Combine(_folder, "other.gguf");
        await CommandRun.OfAsync("model", "build", "--type", "f32", "--output", other);
        await using var worker = await WorkerProcess.StartAsync(_model);

        var run = await CommandRun.OfAsync(
            "serve", "--role", "gateway", "--port", "0", "--model", other, "--worker",
            worker.Address.AbsoluteUri.TrimEnd('/'), "--set", "logging.level=error");

        Assert.That(run.Code, Is.EqualTo(ExitCode.Failed));
        Assert.That(run.Error, Does.Match("the model files differ: .* serves [0-9a-f]{64}, .* is [0-9a-f]{64}"));
    }

    [Test]
    public async Task Gateway_WithoutWorker_SaysWhereItLookedAndEnds()
    {
        var run = await CommandRun.OfAsync(
            "serve", "--role", "gateway", "--port", "0", "--model", _model, "--worker", "http://127.0.0.1:9",
            "--set", "remote.start_timeout_ms=0", "--set", "logging.level=error");

        Assert.That(run.Code, Is.EqualTo(ExitCode.Failed));
        Assert.That(run.Error, Does.Contain("http://127.0.0.1:9").And.Contain("remote.start_timeout_ms"));
    }

    private static object Question() => new
    {
        model = "kimi-needle",
        max_tokens = 100,
        messages = new[]
        {
            new { role = "user", content = $"{Fact}\nComplete this sentence:\nThe passcode of Aurora is" },
        },
    };

    // A prompt of plain text has no end that the model would know: it quotes on until its limit.
    private static object EndlessText() => new
    {
        model = "kimi-needle",
        prompt = string.Concat(Enumerable.Repeat("one two three four five six seven ", 20)),
        stream = true,
        max_tokens = 50_000,
    };

    private static async Task<string?> AskAsync(HttpClient http)
    {
        using var response = await http.PostAsJsonAsync("v1/chat/completions", Question());
        var body = await response.Content.ReadAsStringAsync();
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), body);
        using var parsed = JsonDocument.Parse(body);
        return parsed.RootElement.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString();
    }

    private static async Task<StreamReader> StartStreamAsync(HttpClient http, CancellationToken limit)
    {
        using var message = new HttpRequestMessage(HttpMethod.Post, "v1/completions")
        {
            Content = JsonContent.Create(EndlessText()),
        };
        var response = await http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, limit);
        var reader = new StreamReader(await response.Content.ReadAsStreamAsync(limit));
        for (var lines = 0; lines < 20; lines++)
        {
            Assert.That(await reader.ReadLineAsync(limit), Is.Not.Null);
        }

        return reader;
    }

    private static async Task CancelReachesTheWorkerAsync(HttpClient http, Uri address, CancellationToken limit)
    {
        using var channel = PeerChannel.Create(
            address.AbsoluteUri, new PeerOptions(), NullLoggerFactory.Instance);
        await using var worker = await RemoteTokenGenerator.ConnectAsync(
            channel.Invoker, new RemoteWorkerOptions { StatusIntervalMs = 20 }, TimeProvider.System,
            NullLogger.Instance, limit);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(5));
        using (await StartStreamAsync(http, limit))
        {
            while (worker.Status().Running == 0)
            {
                await timer.WaitForNextTickAsync(limit);
            }
        }

        var left = Stopwatch.GetTimestamp();
        while (worker.Status().Running > 0)
        {
            await timer.WaitForNextTickAsync(limit);
        }

        Assert.That(Stopwatch.GetElapsedTime(left), Is.LessThan(TimeSpan.FromSeconds(1)));
    }

    private static async Task<string> KillDuringAStreamAsync(
        HttpClient http, WorkerProcess worker, CancellationToken limit)
    {
        using var reader = await StartStreamAsync(http, limit);
        await worker.KillAsync();
        return await reader.ReadToEndAsync(limit);
    }

    /// <summary>Asks until the answer is the wanted one.</summary>
    private static async Task<(HttpStatusCode Code, string? Reason)> HealthAsync(
        HttpClient http, HttpStatusCode wanted, CancellationToken limit)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        while (true)
        {
            using var response = await http.GetAsync("health", limit);
            var body = await response.Content.ReadFromJsonAsync<JsonElement>(limit);
            if (response.StatusCode == wanted)
            {
                return (response.StatusCode, body.GetProperty("reason").GetString());
            }

            await timer.WaitForNextTickAsync(limit);
        }
    }
}
