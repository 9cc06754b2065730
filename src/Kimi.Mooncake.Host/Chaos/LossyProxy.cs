using System.Buffers;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Kimi.Mooncake.Host.Chaos;

/// <summary>
/// A TCP port before that of a process: what comes is passed on, until it is told to break connections or to be slow.
/// </summary>
internal sealed class LossyProxy : IAsyncDisposable
{
    private const int BufferBytes = 64 << 10;

    private readonly TcpListener _listener;
    private readonly IPEndPoint _target;
    private readonly CancellationTokenSource _stopping = new();
    private readonly ConcurrentDictionary<Socket, byte> _open = new();
    private readonly Task _accepting;
    private volatile bool _isRefusing;
    private int _delayMs;

    /// <summary>Starts to listen on a free loopback port.</summary>
    /// <param name="target">Where the process listens.</param>
    public LossyProxy(Uri target)
    {
        _target = new IPEndPoint(IPAddress.Loopback, target.Port);
        _listener = new TcpListener(IPAddress.Loopback, 0);
        _listener.Start();
        Address = new Uri($"{target.Scheme}://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}");
        _accepting = AcceptAsync();
    }

    /// <summary>Under which the process is reached.</summary>
    public Uri Address { get; }

    /// <summary>Time by which each piece of data is held up, in milliseconds.</summary>
    public int DelayMs
    {
        get => Volatile.Read(ref _delayMs);
        set => Volatile.Write(ref _delayMs, value);
    }

    /// <summary>Breaks every connection, and until <see cref="Accept"/> each new one.</summary>
    public void Refuse()
    {
        _isRefusing = true;
        Drop();
    }

    /// <summary>Takes connections again.</summary>
    public void Accept() => _isRefusing = false;

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync().ConfigureAwait(false);
        _listener.Dispose();
        await _accepting.ConfigureAwait(false);
        Drop();
        _stopping.Dispose();
    }

    private void Drop()
    {
        foreach (var socket in _open.Keys)
        {
            Break(socket);
        }
    }

    // A reset, not an orderly end: the other side shall not take it for one.
    private static void Break(Socket socket)
    {
        try
        {
            socket.LingerState = new LingerOption(enable: true, seconds: 0);
        }
        catch (Exception fault) when (IsEndOfConnection(fault))
        {
            // Its own end was faster.
            return;
        }

        socket.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (!_stopping.IsCancellationRequested)
        {
            Socket client;
            try
            {
                client = await _listener.AcceptSocketAsync(_stopping.Token).ConfigureAwait(false);
            }
            catch (Exception fault) when (fault is OperationCanceledException or SocketException
                or ObjectDisposedException)
            {
                if (_stopping.IsCancellationRequested)
                {
                    return;
                }

                continue;
            }

            _ = ServeAsync(client);
        }
    }

    private async Task ServeAsync(Socket client)
    {
        using var server = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        using (client)
        {
            try
            {
                client.NoDelay = true;
                _open[client] = 0;
                _open[server] = 0;
                if (_isRefusing)
                {
                    Break(client);
                    return;
                }

                await server.ConnectAsync(_target, _stopping.Token).ConfigureAwait(false);
                await Task.WhenAny(PumpAsync(client, server), PumpAsync(server, client)).ConfigureAwait(false);
            }
            catch (Exception fault) when (IsEndOfConnection(fault))
            {
                Break(client);
            }
            finally
            {
                _open.TryRemove(client, out _);
                _open.TryRemove(server, out _);
            }
        }
    }

    private async Task PumpAsync(Socket from, Socket to)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            while (true)
            {
                var count = await from.ReceiveAsync(buffer, _stopping.Token).ConfigureAwait(false);
                if (count == 0)
                {
                    return;
                }

                if (DelayMs is > 0 and var delay)
                {
                    await Task.Delay(delay, _stopping.Token).ConfigureAwait(false);
                }

                for (var sent = 0; sent < count;)
                {
                    sent += await to.SendAsync(buffer.AsMemory(sent, count - sent), _stopping.Token)
                        .ConfigureAwait(false);
                }
            }
        }
        catch (Exception fault) when (IsEndOfConnection(fault))
        {
            Break(to);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static bool IsEndOfConnection(Exception fault) =>
        fault is SocketException or ObjectDisposedException or OperationCanceledException;
}
