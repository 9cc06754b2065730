using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Transfer;

/// <summary>The receiver's side of TCP connections: writes the frames where they belong, and answers them.</summary>
internal sealed class TcpFrameListener : IAsyncDisposable
{
    private const int Backlog = 64;

    private readonly Socket _socket;
    private readonly ReceivingEnd _receiving;
    private readonly ILogger _logger;
    private readonly ServedSockets _served = new();
    private readonly Task _accepting;

    /// <exception cref="SocketException">The address cannot be listened on.</exception>
    public TcpFrameListener(IPAddress address, ReceivingEnd receiving, ILogger logger)
    {
        _receiving = receiving;
        _logger = logger;
        _socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            _socket.Bind(new IPEndPoint(address, 0));
            _socket.Listen(Backlog);
            Port = ((IPEndPoint)_socket.LocalEndPoint!).Port;
        }
        catch
        {
            _socket.Dispose();
            throw;
        }

        _accepting = Task.Run(() => _served.AcceptAsync(_socket, ServeAsync, _logger));
    }

    public int Port { get; }

    public async ValueTask DisposeAsync()
    {
        await _served.StopAsync(_socket).ConfigureAwait(false);
        await _accepting.ConfigureAwait(false);
    }

    private async Task ServeAsync(Socket socket)
    {
        using var slot = _receiving.TryOpen();
        if (slot is null)
        {
            return;
        }

        socket.NoDelay = true;
        var greeting = new byte[TcpWire.GreetingBytes];
        TcpWire.WriteGreeting(greeting, _receiving.CreditBytes);
        await socket.SendAsync(greeting, SocketFlags.None).ConfigureAwait(false);
        var header = new byte[TcpWire.HeaderBytes];
        var reply = new byte[TcpWire.ReplyBytes];
        var payload = Array.Empty<byte>();
        while (await TcpWire.TryReceiveAsync(socket, header, CancellationToken.None).ConfigureAwait(false))
        {
            var frame = TcpWire.ReadHeader(header, _receiving.CreditBytes);
            if (payload.Length < frame.Bytes)
            {
                payload = GC.AllocateUninitializedArray<byte>(frame.Bytes, pinned: true);
            }

            // The whole frame first: a reservation that is being closed does not wait for the network.
            var isComplete = frame.Bytes == 0 || await TcpWire
                .TryReceiveAsync(socket, payload.AsMemory(0, frame.Bytes), CancellationToken.None)
                .ConfigureAwait(false);
            if (!isComplete)
            {
                throw new IOException("the sender ended within a frame");
            }

            var outcome = _receiving.Reservations.Write(
                TransferTransport.Tcp, frame, new ReadOnlySpan<byte>(payload, 0, frame.Bytes));
            TcpWire.WriteReply(
                reply, new FrameReply(frame.Target, frame.Sequence, outcome, (uint)frame.Bytes));
            await socket.SendAsync(reply, SocketFlags.None, CancellationToken.None).ConfigureAwait(false);
        }
    }
}
