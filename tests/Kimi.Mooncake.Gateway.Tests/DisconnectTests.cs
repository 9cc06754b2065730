using System.Net.Sockets;
using System.Text;

namespace Kimi.Mooncake.Gateway.Tests;

internal sealed class DisconnectTests
{
    private const string Path = "/v1/completions";
    private const string Start = "{'model':'test/kimi','prompt':'x','max_tokens':900";

    private RunningGateway _gateway = null!;

    // A stream that hangs writes nothing by which a client's leaving could be noticed.
    [SetUp]
    public async Task StartAsync() => _gateway = await RunningGateway.StartAsync(
        options: new GatewayOptions { StreamStartMs = 1, StreamKeepAliveSeconds = 600 });

    [TearDown]
    public async Task StopAsync() => await _gateway.DisposeAsync();

    [Test]
    public async Task Client_LeavesAStream_EveryChoiceIsCancelled()
    {
        HangAfter("some text");
        using var response = await _gateway.PostAsync(Path, Start + ",'stream':true,'n':2}");
        var stream = await response.Content.ReadAsStreamAsync();
        var buffer = new byte[16];
        await stream.ReadExactlyAsync(buffer);

        response.Dispose();

        await UntilIdleAsync();
        Assert.That(_gateway.Generator.Cancelled, Is.EqualTo(2));
    }

    [Test]
    public async Task Client_LeavesBeforeAWholeAnswer_GenerationIsCancelled()
    {
        HangAfter("some text");
        using var leave = new CancellationTokenSource();
        var answer = _gateway.PostAsync(Path, Start + "}", leave.Token);
        await _gateway.Generator.FirstHanging.Task.WaitAsync(RunningGateway.Patience);

        await leave.CancelAsync();

        Assert.That(async () => await answer, Throws.InstanceOf<OperationCanceledException>());
        await UntilIdleAsync();
        Assert.That(_gateway.Generator.Cancelled, Is.EqualTo(1));
    }

    [Test]
    public async Task Client_ThatDoesNotRead_HoldsUpItsGenerationAndIsCutOff()
    {
        const int AnswerTokens = 5_000_000;
        var card = _gateway.Generator.Model with { ContextLength = AnswerTokens + 2 };
        await using var gateway = await RunningGateway.StartAsync(new ScriptedGenerator
        {
            Model = card,
            Answer = _ => Enumerable.Repeat((int)'x', AnswerTokens),
        }, new GatewayOptions { StreamStallSeconds = 1 });
        using var client = new TcpClient { ReceiveBufferSize = 4096 };
        await client.ConnectAsync(gateway.Address.Host, gateway.Address.Port);
        var body = "{'model':'test/kimi','prompt':'x','stream':true,'max_tokens':5000000}".Replace('\'', '"');
        var request = $"POST {Path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {body.Length}\r\n\r\n{body}";

        await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(request));

        await gateway.Generator.FirstCancelled.Task.WaitAsync(RunningGateway.Patience);
        Assert.That(
            gateway.Generator.TokensGenerated, Is.LessThan(200_000), "a few MB of events fit the sockets' buffers");
    }

    [TestCase(false)]
    [TestCase(true)]
    public async Task Server_StopsWithAnOpenRequest_CancelsItAndSaysSo(bool stream)
    {
        var generator = new ScriptedGenerator { HangAfterAnswer = true, Answer = _ => ScriptedGenerator.Bytes("x") };
        var gateway = await RunningGateway.StartAsync(generator, new GatewayOptions { ShutdownSeconds = 0 });
        var asked = gateway.PostAsync(Path, Start + $",'stream':{(stream ? "true" : "false")}}}");
        await generator.FirstHanging.Task.WaitAsync(RunningGateway.Patience);
        var stopped = gateway.StopServerAsync();

        using var response = await asked;
        var body = await response.Content.ReadAsStringAsync();

        await stopped;
        await generator.FirstCancelled.Task.WaitAsync(RunningGateway.Patience);
        Assert.That((int)response.StatusCode, Is.EqualTo(stream ? 200 : 503));
        Assert.That(body, Does.Contain("The server is stopping.").And.Not.Contain("[DONE]"));
        await gateway.DisposeAsync();
    }

    [Test]
    public async Task Stream_Silent_BeginsAndIsKeptAlive()
    {
        await using var gateway = await RunningGateway.StartAsync(
            new ScriptedGenerator { Answer = _ => ScriptedGenerator.Bytes(""), HangAfterAnswer = true },
            new GatewayOptions { StreamStartMs = 1, StreamKeepAliveSeconds = 1 });
        using var response = await gateway.PostAsync("/v1/chat/completions",
            "{'model':'test/kimi','messages':[{'role':'user','content':'x'}],'stream':true}");

        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        using var limit = new CancellationTokenSource(RunningGateway.Patience);
        var lines = new List<string>();
        while (lines.Count(l => l == ": keep-alive") < 2)
        {
            lines.Add(await reader.ReadLineAsync(limit.Token) ?? throw new EndOfStreamException());
        }

        Assert.That(lines[0], Does.StartWith("data: ").And.Contain("\"role\":\"assistant\""));
    }

    [Test]
    public async Task ManyClients_AThirdLeaveAtRandom_TheOthersGetRightAnswers()
    {
        const int Seed = 5;
        const int Clients = 60;
        _gateway.Generator.Answer = r => ScriptedGenerator.Bytes(Answer(r.Sampling.Seed), end: true);
        var random = new Random(Seed);
        var leaveAfter = Enumerable.Range(0, Clients).Select(i => i % 3 == 0 ? random.Next(1, 3000) : -1).ToArray();

        var wrong = await Task.WhenAll(leaveAfter.Select((bytes, i) => RunClientAsync(i, bytes)));

        Assert.That(wrong.Where(w => w is not null), Is.Empty, $"seed {Seed}");
        await UntilIdleAsync();
    }

    private static string Answer(ulong seed) => string.Concat(Enumerable.Repeat($"{seed}, ", 40));

    private async Task<string?> RunClientAsync(int index, int leaveAfterBytes)
    {
        var json = Start + $",'stream':true,'seed':{index}}}";
        if (leaveAfterBytes < 0)
        {
            var events = await _gateway.StreamAsync(Path, json);
            var text = string.Concat(events[..^1].Select(e => System.Text.Json.JsonElement.Parse(e))
                .Select(e => e.GetProperty("choices")[0].GetProperty("text").GetString()));
            return text == Answer((ulong)index) ? null : $"client {index} got '{text}'";
        }

        using var response = await _gateway.PostAsync(Path, json);
        var stream = await response.Content.ReadAsStreamAsync();
        await stream.ReadAtLeastAsync(new byte[leaveAfterBytes], leaveAfterBytes, throwOnEndOfStream: false);
        return null;
    }

    private void HangAfter(string text)
    {
        _gateway.Generator.Answer = _ => ScriptedGenerator.Bytes(text);
        _gateway.Generator.HangAfterAnswer = true;
    }

    private async Task UntilIdleAsync()
    {
        using var limit = new CancellationTokenSource(RunningGateway.Patience);
        while (_gateway.Generator.Active > 0)
        {
            limit.Token.ThrowIfCancellationRequested();
            await Task.Yield();
        }
    }
}
