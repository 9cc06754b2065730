using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.Json;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Processes;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Host.Tests.Commands;
using Kimi.Mooncake.Models.Needle;

namespace Kimi.Mooncake.Host.Tests.Serving;

/// <summary>
/// One cluster of real processes, through the command line and HTTP: conductor, gateway, two prefill workers and two
/// decode workers. The tests share it, because starting it takes seconds; each leaves it whole.
/// </summary>
[TestFixture]
internal sealed partial class ClusterTests
{
    private const int SimultaneousRequests = 50;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    // A conversation that goes on for a while, so that something can happen meanwhile.
    private static readonly NeedleDocument Document = NeedleDocument.Create(6_000, 8, seed: 77);

    private string _folder = "";
    private string _model = "";
    private RunningCluster _cluster = null!;
    private ServeTarget _target = null!;
    private HttpClient _http = null!;

    [OneTimeSetUp]
    public async Task Start()
    {
        _folder = Directory.CreateTempSubdirectory("mooncake-cluster").FullName;
        _model = Path.Combine(_folder, "model.gguf");
        NeedleModel.Write(_model);
        var file = Path.Combine(_folder, "cluster.json");
        await File.WriteAllTextAsync(file, """
            {
              "settings": {
                "logging.level": "information", "worker.threads": 1, "worker.kv_pool_bytes": "128MiB",
                "engine.prefill_chunk_tokens": 512, "conductor.load_interval_ms": 100,
                "conductor.local_prefill_seconds_max": 0
              },
              "processes": [
                { "name": "conductor", "role": "conductor" },
                { "name": "gateway", "role": "gateway" },
                { "name": "tools", "role": "gateway", "settings": { "serve.chat_template": "k2" } },
                { "name": "prefill", "role": "prefill", "count": 2 },
                { "name": "decode", "role": "decode", "count": 2 }
              ]
            }
            """);
        _cluster = await RunningCluster.StartAsync(
            ClusterConfigReader.Read(file), new ClusterPlace { Folder = _folder, Model = _model },
            CancellationToken.None);
        _target = _cluster.OpenTarget();
        var handler = new SocketsHttpHandler { ResponseDrainTimeout = TimeSpan.Zero };
        _http = new HttpClient(handler) { BaseAddress = _cluster.Gateway, Timeout = Patience };
    }

    [OneTimeTearDown]
    public async Task Stop()
    {
        try
        {
            if (_cluster is not null)
            {
                await EndAsync();
            }
        }
        finally
        {
            Directory.Delete(_folder, recursive: true);
        }
    }

    [Test]
    public async Task BenchServe_AgainstOneProcess_GivesTheSameBytesAndTrueCounts()
    {
        string[] metrics = [.. Nodes().SelectMany(node => new[] { "--metrics", node.Http.AbsoluteUri })];

        var run = await CommandRun.OfAsync(
            ["bench", "serve", "--server", _cluster.Gateway.AbsoluteUri, .. metrics, "--compare", "in-process",
                "--conversations", "6", "--turns", "3", "--documents", "2", "--document-tokens", "3000", "--json"]);

        Assert.That(run.Code, Is.EqualTo(ExitCode.Ok), run.Error + run.Output);
        using var parsed = JsonDocument.Parse(run.Output);
        var report = parsed.RootElement;
        Assert.That(report.GetProperty("answers_right").GetInt32(), Is.EqualTo(18));
        Assert.That(report.GetProperty("cached_tokens_true").GetBoolean(), Is.True);
        Assert.That(report.GetProperty("pools_empty").GetBoolean(), Is.True);
        Assert.That(report.GetProperty("comparison").GetProperty("answers_equal").GetInt32(), Is.EqualTo(18));

        // Both pools had their part.
        Assert.That(await SumAsync("prefill", "mooncake_prefills_exported_total"), Is.Positive);
        Assert.That(await SumAsync("decode", "mooncake_prefills_imported_total"), Is.Positive);
    }

    [Test]
    public async Task Requests_ManyAtOnceForOneDocument_PrefillItOnce()
    {
        var document = NeedleDocument.Create(4_096, 8, seed: 5);
        var before = await _target.Load.CountersAsync(CancellationToken.None);

        var answers = await Task.WhenAll(Enumerable.Range(0, SimultaneousRequests).Select(i => Asker.AskAsync(
            _target.Gateway, StreamRequest.About(document.Text, document.Facts[i % 8].Question),
            document.Facts[i % 8].Question, observe: null, CancellationToken.None)));

        var counted = await _target.Load.CountersAsync(CancellationToken.None) - before;
        Assert.That(answers.Select((asked, i) => asked.Answer == document.Facts[i % 8].Sentence), Is.All.True);
        Assert.That(counted.PrefillTokens, Is.EqualTo(answers.Sum(asked => asked.PromptTokens - asked.CachedTokens)));

        // One request computed the document; to all others it was there.
        Assert.That(answers.Count(asked => asked.CachedTokens < 4_096), Is.EqualTo(1));
    }

    [Test]
    public async Task Prompts_OfTwoTenants_AreComputedForEachAndSavingsGoToWhoseTheyAre()
    {
        var document = NeedleDocument.Create(4_096, 4, seed: 91);
        var body = new
        {
            model = await _target.Gateway.ModelIdAsync(CancellationToken.None),
            messages = new[] { new { role = "user", content = document.Text } },
            max_tokens = 1,
        };

        var cached = new List<int>();
        foreach (var (tenant, ns) in new[]
        {
            ("a", ""), ("a", ""), ("b", ""), ("a", "cluster-docs"), ("b", "cluster-docs"),
        })
        {
            using var message = new HttpRequestMessage(HttpMethod.Post, "v1/chat/completions")
            {
                Content = JsonContent.Create(body),
            };
            message.Headers.Add("x-tenant-id", tenant);
            if (ns.Length > 0)
            {
                message.Headers.Add("x-cache-namespace", ns);
            }

            using var response = await _http.SendAsync(message);
            var answer = await response.Content.ReadFromJsonAsync<JsonElement>();
            cached.Add(answer.GetProperty("usage").GetProperty("prompt_tokens_details").GetProperty("cached_tokens")
                .GetInt32());
        }

        Assert.That(cached, Is.EqualTo([0, 4_096, 0, 0, 4_096]));
        using var asking = new HttpRequestMessage(HttpMethod.Get, "v1/savings");
        asking.Headers.Add("x-tenant-id", "b");
        using var savings = await _http.SendAsync(asking);
        var saved = await savings.Content.ReadFromJsonAsync<JsonElement>();
        Assert.That(saved.GetProperty("cached_tokens").GetInt32(), Is.EqualTo(4_096));
        Assert.That(saved.GetProperty("prefill_seconds_saved").GetDouble(), Is.Positive, "as the prefill worker says");
    }

    [Test]
    public async Task Abort_DuringPrefillAndDuringDecode_IsOverEverywhereSoon()
    {
        const string RanToItsEnd = "mooncake_requests_length_total";
        await UntilAsync(async () => (await BusyAsync()).Count == 0);
        var ended = await SumAsync("decode", RanToItsEnd);
        foreach (var linesToRead in new[] { 1, 40 })
        {
            var reader = await StartStreamAsync(Endless(linesToRead), linesToRead);
            reader.Dispose();
            var left = Stopwatch.GetTimestamp();
            await UntilAsync(async () => (await BusyAsync()).Count == 0);

            Assert.That(Stopwatch.GetElapsedTime(left), Is.LessThan(TimeSpan.FromSeconds(10)), $"{linesToRead} lines");
            Assert.That(await SumAsync("decode", RanToItsEnd), Is.EqualTo(ended), $"{linesToRead} lines");
        }
    }

    [Test]
    public async Task DecodeWorker_KilledMidStream_TheStreamGoesOnWithTheSameText()
    {
        var expected = await TextAsync(await StartStreamAsync(Endless(4, tokens: 400), 1));
        // Its worker settles what it generated; busy is to mean the second stream's.
        await UntilAsync(async () => (await BusyAsync()).Count == 0);
        using var stream = await StartStreamAsync(Endless(4, tokens: 400), 1);
        var text = "";
        while (text.Length < 40)
        {
            text += TextOf(await stream.ReadLineAsync());
        }

        var decoding = (await BusyAsync()).Single(process => process.Config.Name.StartsWith("decode"));
        await decoding.KillAsync();
        text += await TextAsync(stream);
        decoding.Start();
        await _cluster.WaitUntilReadyAsync([decoding], CancellationToken.None);

        Assert.That(text, Is.EqualTo(expected));
    }

    [Test]
    public async Task PrefillWorker_KilledWhileItComputes_IsReplaced()
    {
        var document = NeedleDocument.Create(12_000, 4, seed: 6);
        var fact = document.Facts[2];
        ClusterProcess? killed = null;
        var asking = Asker.AskAsync(
            _target.Gateway, StreamRequest.About(document.Text, fact.Question), fact.Question, observe: null,
            CancellationToken.None);
        await UntilAsync(async () =>
        {
            killed = (await BusyAsync()).FirstOrDefault(process => process.Config.Name.StartsWith("prefill"));
            return killed is not null;
        });

        await killed!.KillAsync();
        var asked = await asking;
        killed.Start();
        await _cluster.WaitUntilReadyAsync([killed], CancellationToken.None);

        Assert.That(asked.Answer, Is.EqualTo(fact.Sentence));
    }

    [Test]
    public async Task Conductor_KilledDuringAStream_TheStreamGoesOnAndNewRequestsComeAgain()
    {
        var expected = await TextAsync(await StartStreamAsync(Endless(5, tokens: 300), 1));
        using var stream = await StartStreamAsync(Endless(5, tokens: 300), 30);
        var conductor = Process("conductor");

        await conductor.KillAsync();
        conductor.Start();
        var rest = await TextAsync(stream);
        await _cluster.WaitUntilReadyAsync([.. Nodes()], CancellationToken.None);

        Assert.That(expected, Does.EndWith(rest));
        Assert.That(rest, Has.Length.GreaterThan(50));
        Assert.That(await AskAsync(), Is.True);
    }

    [Test]
    public async Task Drain_OfAWorkerInUse_WaitsForItAndItGetsNothingNew()
    {
        using var stream = await StartStreamAsync(Endless(6, tokens: 500), 30);
        var decoding = (await BusyAsync()).Single(process => process.Config.Name.StartsWith("decode"));
        var name = decoding.Config.Name;

        var draining = CommandRun.OfAsync("drain", name, "--conductor", Address(_cluster.Conductor!), "--json");
        var rest = await TextAsync(stream);
        var run = await draining;
        var nodes = await CommandRun.OfAsync("top", "--conductor", Address(_cluster.Conductor!), "--json");

        Assert.That(rest, Is.Not.Empty);
        Assert.That(run.Code, Is.EqualTo(ExitCode.Ok), run.Error);
        Assert.That(run.Output, Does.Contain("\"drained\": true"));
        Assert.That(run.Error, Does.Contain($"{name}: 1 requests left"));
        using var parsed = JsonDocument.Parse(nodes.Output);
        var states = parsed.RootElement.GetProperty("nodes").EnumerateArray()
            .ToDictionary(
                node => node.GetProperty("node").GetString()!, node => node.GetProperty("health").GetString());
        Assert.That(states, Has.Count.EqualTo(4));
        Assert.That(states[name], Is.EqualTo("draining"));
        Assert.That(await AskAsync(), Is.True);
        Assert.That(await decoding.StopAsync(Patience), Is.True, decoding.Tail());
        decoding.Start();
        await _cluster.WaitUntilReadyAsync([decoding], CancellationToken.None);
    }

    [Test]
    public async Task Drain_OfNobody_SaysSo()
    {
        var run = await CommandRun.OfAsync("drain", "nobody", "--conductor", Address(_cluster.Conductor!));

        Assert.That(run.Code, Is.EqualTo(ExitCode.Failed));
        Assert.That(run.Error, Does.Contain("NotFound").And.Contain("nobody"));
    }

    [Test]
    public async Task Worker_OfAnotherModel_IsRefusedWithTheReasonAndEnds()
    {
        var other = Path.Combine(_folder, "other.gguf");
        await CommandRun.OfAsync("model", "build", "--type", "f32", "--output", other);

        var run = await ServeAsync("other", "--model", other);
        var layout = await ServeAsync("layout", "--model", _model, "--set", "worker.block_tokens=32");

        Assert.That(run.Code, Is.EqualTo(ExitCode.Failed));
        Assert.That(run.Error, Does.Match("the conductor refused this node: the cluster serves .*[0-9a-f]{64}"));
        Assert.That(layout.Code, Is.EqualTo(ExitCode.Failed));
        Assert.That(layout.Error, Does.Contain("KV layout"));
    }

    [Test]
    public async Task Decode_NoneLeft_PrefillWorkersServeAndHealthSaysSo()
    {
        var decoding = Nodes().Where(node => node.Config.Roles == ServeRoles.Decode).ToList();
        foreach (var process in decoding)
        {
            await process.StopAsync(Patience);
        }

        await UntilAsync(async () => (await HealthAsync()).GetProperty("degraded").GetBoolean());
        var health = await HealthAsync();
        Assert.That(health.GetProperty("status").GetString(), Is.EqualTo("degraded"));
        Assert.That(health.GetProperty("degraded_reason").GetString(), Does.Contain("decode"));
        Assert.That(await AskAsync(), Is.True);

        decoding.ForEach(process => process.Start());
        await _cluster.WaitUntilReadyAsync(decoding, CancellationToken.None);
        await UntilAsync(async () => !(await HealthAsync()).GetProperty("degraded").GetBoolean());
    }

    /// <summary>Whatever was done to it, the cluster is empty and stops cleanly.</summary>
    private async Task EndAsync()
    {
        await using var owned = _cluster;
        if (TestContext.CurrentContext is { Result.FailCount: > 0 })
        {
            foreach (var process in _cluster.Processes)
            {
                await TestContext.Out.WriteLineAsync($"--- {process.Config.Name}\n{process.Tail()}");
            }
        }

        var left = await _target.Load.UntilEmptyAsync(CancellationToken.None);
        var start = Stopwatch.GetTimestamp();
        var late = await _cluster.StopAsync();
        _http.Dispose();
        _target.Dispose();
        Assert.That(left, Is.Empty);
        Assert.That(late.Select(process => process.Config.Name), Is.Empty);
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(TimeSpan.FromSeconds(15)));
    }

    private static string Address(Uri address) => address.AbsoluteUri.TrimEnd('/');

    // Plain text has no end that the model would know: it quotes on until its limit.
    private static object Endless(int seed, int tokens = 20_000) => new
    {
        model = "kimi-needle",
        prompt = NeedleDocument.Create(3_000, 2, seed).Text[..2_900] + Document.Text[..2_000] + Document.Text[..200],
        stream = true,
        max_tokens = tokens,
    };

    private static string TextOf(string? line)
    {
        const string Data = "data: ";
        if (line is null || !line.StartsWith(Data, StringComparison.Ordinal) || line == Data + "[DONE]")
        {
            return "";
        }

        using var chunk = JsonDocument.Parse(line[Data.Length..]);
        Assert.That(chunk.RootElement.TryGetProperty("error", out _), Is.False, line);
        return chunk.RootElement.GetProperty("choices") is { ValueKind: JsonValueKind.Array } choices
            && choices.GetArrayLength() > 0
                ? choices[0].GetProperty("text").GetString()!
                : "";
    }

    private static async Task<string> TextAsync(StreamReader stream)
    {
        var text = "";
        var isDone = false;
        while (await stream.ReadLineAsync() is { } line)
        {
            isDone |= line == "data: [DONE]";
            text += TextOf(line);
        }

        Assert.That(isDone, Is.True, "the stream broke off");
        return text;
    }

    private static async Task UntilAsync(Func<Task<bool>> isTrue)
    {
        using var limit = new CancellationTokenSource(Patience);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(10));
        while (!await isTrue())
        {
            await timer.WaitForNextTickAsync(limit.Token);
        }
    }

    private IEnumerable<ClusterProcess> Nodes() => _cluster.Processes.Where(process => process.Config.IsNode);

    private ClusterProcess Process(string name) => _cluster.Processes.Single(process => process.Config.Name == name);

    private async Task<bool> AskAsync()
    {
        var fact = Document.Facts[3];
        var asked = await Asker.AskAsync(
            _target.Gateway, StreamRequest.About(Document.Text, fact.Question), fact.Question, observe: null,
            new CancellationTokenSource(Patience).Token);
        return asked.Answer == fact.Sentence;
    }

    private async Task<JsonElement> HealthAsync()
    {
        using var response = await _http.GetAsync("health");
        return await response.Content.ReadFromJsonAsync<JsonElement>();
    }

    private async Task<double> SumAsync(string role, string metric)
    {
        var sum = 0.0;
        foreach (var node in Nodes().Where(node => node.Config.Name.StartsWith(role, StringComparison.Ordinal)))
        {
            using var client = new CompletionClient(node.Http);
            sum += (await client.MetricsAsync(CancellationToken.None)).Get(metric);
        }

        return sum;
    }

    /// <summary>Nodes that run something at this moment.</summary>
    private async Task<List<ClusterProcess>> BusyAsync()
    {
        var busy = new List<ClusterProcess>();
        foreach (var node in Nodes())
        {
            using var client = new CompletionClient(node.Http);
            if (!(await client.LoadAsync(CancellationToken.None)).IsEmpty)
            {
                busy.Add(node);
            }
        }

        return busy;
    }

    private async Task<StreamReader> StartStreamAsync(object body, int linesToRead)
    {
        using var message = new HttpRequestMessage(HttpMethod.Post, "v1/completions")
        {
            Content = JsonContent.Create(body),
        };
        var response = await _http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead);
        var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        for (var lines = 0; lines < linesToRead - 1; lines++)
        {
            Assert.That(await reader.ReadLineAsync(), Is.Not.Null);
        }

        return reader;
    }

    private Task<CommandRun> ServeAsync(string name, params string[] arguments) => CommandRun.OfAsync(
    [
        "serve", "--role", "decode", "--conductor", Address(_cluster.Conductor!), "--node-id", name, "--rpc-port", "0",
        "--set", "worker.kv_pool_bytes=16MiB", "--set", "logging.level=none", .. arguments,
    ]);
}
