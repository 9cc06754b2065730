using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Kimi.Mooncake.Host.Chaos;

namespace Kimi.Mooncake.Host.Tests.Chaos;

/// <summary>A proxy before a port that sends everything back.</summary>
[TestFixture]
internal sealed class LossyProxyTests
{
    private TcpListener _echo = null!;
    private LossyProxy _proxy = null!;

    [SetUp]
    public void Start()
    {
        _echo = new TcpListener(IPAddress.Loopback, 0);
        _echo.Start();
        _ = EchoAsync();
        _proxy = new LossyProxy(new Uri($"http://127.0.0.1:{((IPEndPoint)_echo.LocalEndpoint).Port}"));
    }

    [TearDown]
    public async Task Stop()
    {
        await _proxy.DisposeAsync();
        _echo.Dispose();
    }

    [Test]
    public async Task Send_LeftInPeace_ComesBackWhole()
    {
        using var client = await ConnectAsync();
        var sent = new byte[1 << 20];
        new Random(4).NextBytes(sent);

        var sending = client.GetStream().WriteAsync(sent).AsTask();
        var received = new byte[sent.Length];
        await client.GetStream().ReadExactlyAsync(received);
        await sending;

        Assert.That(received, Is.EqualTo(sent));
    }

    [Test]
    public async Task Refuse_OpenAndNewConnections_AreBrokenUntilAccept()
    {
        using var open = await ConnectAsync();
        await EchoOneAsync(open);

        _proxy.Refuse();
        await Assert.CatchAsync<IOException>(() => EchoOneAsync(open));

        // The reset may be faster than the connection.
        var refused = await Assert.CatchAsync<Exception>(async () =>
        {
            using var client = await ConnectAsync();
            await EchoOneAsync(client);
        });
        Assert.That(refused, Is.InstanceOf<IOException>().Or.InstanceOf<SocketException>());
        _proxy.Accept();
        using var accepted = await ConnectAsync();
        await EchoOneAsync(accepted);
    }

    [Test]
    public async Task Delay_OfData_HoldsItUpInBothDirections()
    {
        using var client = await ConnectAsync();
        _proxy.DelayMs = 50;

        var start = Stopwatch.GetTimestamp();
        await EchoOneAsync(client);

        // Two delays of 50 ms; a timer ticks coarsely and may fire some milliseconds early.
        Assert.That(Stopwatch.GetElapsedTime(start), Is.GreaterThanOrEqualTo(TimeSpan.FromMilliseconds(60)));
    }

    private static async Task EchoOneAsync(TcpClient client)
    {
        var one = new byte[] { 42 };
        await client.GetStream().WriteAsync(one);
        var back = new byte[1];
        await client.GetStream().ReadExactlyAsync(back);
        Assert.That(back, Is.EqualTo(one));
    }

    private async Task<TcpClient> ConnectAsync()
    {
        var client = new TcpClient { NoDelay = true };
        await client.ConnectAsync(IPAddress.Loopback, _proxy.Address.Port);
        return client;
    }

    private async Task EchoAsync()
    {
        try
        {
            while (true)
            {
                var socket = await _echo.AcceptTcpClientAsync();
                _ = ServeAsync(socket);
            }
        }
        catch (Exception fault) when (fault is ObjectDisposedException or SocketException)
        {
            return;
        }
    }

    private static async Task ServeAsync(TcpClient socket)
    {
        using (socket)
        {
            try
            {
                await socket.GetStream().CopyToAsync(socket.GetStream());
            }
            catch (Exception fault) when (fault is IOException or ObjectDisposedException)
            {
                return;
            }
        }
    }
}
