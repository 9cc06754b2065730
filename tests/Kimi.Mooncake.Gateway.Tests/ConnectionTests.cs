using System.Net.Sockets;
using System.Text;

namespace Kimi.Mooncake.Gateway.Tests;

/// <summary>What a client sees on one connection, byte by byte.</summary>
internal sealed class ConnectionTests
{
    private const int BodyBytesMax = 1024;

    private RunningGateway _gateway = null!;

    [SetUp]
    public async Task StartAsync() =>
        _gateway = await RunningGateway.StartAsync(options: new GatewayOptions { RequestBodyBytesMax = BodyBytesMax });

    [TearDown]
    public async Task StopAsync() => await _gateway.DisposeAsync();

    [Test]
    public async Task Connection_AfterAChunkedBodyThatIsTooLarge_ServesTheNextRequest()
    {
        var tooLarge = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
            $"{BodyBytesMax + 1:x}\r\n{new string('a', BodyBytesMax + 1)}\r\n0\r\n\r\n";
        var next = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

        var answers = await ExchangeAsync(tooLarge + next);

        Assert.That(answers, Does.StartWith("HTTP/1.1 413 ").And.Contain("HTTP/1.1 200 OK"));
    }

    [Test]
    public async Task Connection_PipelinedRequests_AreAnsweredInOrder()
    {
        const string Body = """{"model":"test/kimi","prompt":"x","max_tokens":1}""";
        var good = $"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {Body.Length}\r\n\r\n{Body}";
        var bad = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{";
        var last = "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

        var answers = await ExchangeAsync(good + bad + last);

        var statuses = answers.Split("HTTP/1.1 ")[1..].Select(a => a[..3]);
        Assert.That(statuses, Is.EqualTo(new[] { "200", "400", "404" }));
    }

    /// <summary>Sends bytes as they are and reads until the server closes.</summary>
    private async Task<string> ExchangeAsync(string bytes)
    {
        using var limit = new CancellationTokenSource(RunningGateway.Patience);
        using var client = new TcpClient();
        await client.ConnectAsync(_gateway.Address.Host, _gateway.Address.Port, limit.Token);
        await using var stream = client.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes(bytes), limit.Token);
        using var reader = new StreamReader(stream);
        return await reader.ReadToEndAsync(limit.Token);
    }
}
