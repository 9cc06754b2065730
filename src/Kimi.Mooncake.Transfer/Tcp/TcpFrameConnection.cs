using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// The sender's side of a TCP connection. A frame is copied once, into memory that stays as it is while the system
/// takes
/// it, so that giving up a session never waits for a receiver.
/// </summary>
internal sealed class TcpFrameConnection : IFrameConnection
{
    private readonly Socket _socket;
    private readonly TransferFault _fault;
    private readonly byte[] _frame;
    private readonly byte[] _reply = new byte[TcpWire.ReplyBytes];
    private long _creditBytes;

    private TcpFrameConnection(Socket socket, int creditBytes, SendingContext context)
    {
        _socket = socket;
        _creditBytes = creditBytes;
        _fault = context.Fault;
        _frame = GC.AllocateUninitializedArray<byte>(TcpWire.HeaderBytes + context.Options.FrameBytes, pinned: true);
    }

    public TransferTransport Transport => TransferTransport.Tcp;

    /// <summary>Connects, and waits for the receiver's credit.</summary>
    public static async Task<IFrameConnection> OpenAsync(
        string host, int port, SendingContext context, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            using var limit = new CancellationTokenSource(context.AnswerTimeMax, context.Time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
            await socket.ConnectAsync(host, port, either.Token).ConfigureAwait(false);
            var greeting = new byte[TcpWire.GreetingBytes];
            if (!await TcpWire.TryReceiveAsync(socket, greeting, either.Token).ConfigureAwait(false))
            {
                throw new IOException("the receiver refuses");
            }

            var credit = TcpWire.ReadGreeting(greeting);
            return credit >= context.Options.FrameBytes
                ? new TcpFrameConnection(socket, credit, context)
                : throw new InvalidDataException(
                    $"the receiver grants {credit} bytes, less than {context.Options.FrameBytes}: " +
                    "transfer.credit_bytes there must be at least transfer.frame_bytes here");
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public bool HasRoom(int bytes) => Interlocked.Read(ref _creditBytes) >= bytes;

    public unsafe ValueTask SendAsync(FrameToSend frame)
    {
        var bytes = frame.Header.Bytes;
        Interlocked.Add(ref _creditBytes, -bytes);
        try
        {
            var payload = _frame.AsSpan(TcpWire.HeaderBytes, bytes);
            var state = Crc32C.Copy(Crc32C.Start, new ReadOnlySpan<byte>((void*)frame.Source, bytes), payload);
            TcpWire.WriteHeader(_frame, frame.Header with { Checksum = Crc32C.Finish(state) });
            if (_fault.CorruptsNextFrame())
            {
                payload[bytes / 2] ^= 1;
            }
        }
        finally
        {
            frame.EndRead();
        }

        return SendAllAsync(TcpWire.HeaderBytes + bytes);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<FrameReply> ReceiveAsync(CancellationToken cancellationToken)
    {
        // Aborting closes the socket, which ends this.
        if (!await TcpWire.TryReceiveAsync(_socket, _reply, CancellationToken.None).ConfigureAwait(false))
        {
            throw new IOException("the receiver ended the connection");
        }

        var reply = TcpWire.ReadReply(_reply);
        Interlocked.Add(ref _creditBytes, reply.CreditBytes);
        return reply;
    }

    public void Abort() => _socket.Dispose();

    public ValueTask DisposeAsync()
    {
        _socket.Dispose();
        return ValueTask.CompletedTask;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask SendAllAsync(int bytes)
    {
        for (var at = 0; at < bytes;)
        {
            at += await _socket.SendAsync(_frame.AsMemory(at, bytes - at), SocketFlags.None, CancellationToken.None)
                .ConfigureAwait(false);
        }
    }
}
