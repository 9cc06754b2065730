using System.Runtime.CompilerServices;
using Grpc.Core;

namespace Kimi.Mooncake.Transfer;

/// <summary>Opens streams of frames over one channel.</summary>
internal sealed class GrpcConnectionOpener
{
    private readonly CallInvoker _invoker;
    private readonly SendingContext _context;
    private readonly FrameReplyMessage _reply = new();
    private readonly Method<OutgoingFrame, FrameReplyMessage> _method;

    public GrpcConnectionOpener(CallInvoker invoker, SendingContext context)
    {
        _invoker = invoker;
        _context = context;
        _method = new Method<OutgoingFrame, FrameReplyMessage>(
            MethodType.DuplexStreaming, TransferServiceBase.ServiceName, nameof(TransferServiceBase.Frames),
            OutgoingFrame.Marshaller, _reply.ClientMarshaller());
    }

    /// <summary>Opens a stream, and waits for the receiver's first credit.</summary>
    /// <param name="cancellationToken">Ends the stream, also after it was opened.</param>
    /// <exception cref="RpcException">The receiver cannot be reached or refuses.</exception>
    /// <exception cref="InvalidDataException">Its credit does not carry a frame.</exception>
    public async Task<IFrameConnection> OpenAsync(CancellationToken cancellationToken)
    {
        var call = _invoker.AsyncDuplexStreamingCall(
            _method, host: null, new CallOptions(cancellationToken: cancellationToken));
        var connection = new GrpcFrameConnection(call, _reply, _context.Fault);
        try
        {
            using var limit = new CancellationTokenSource(_context.AnswerTimeMax, _context.Time);
            await using var registration = limit.Token.Register(call.Dispose).ConfigureAwait(false);
            await connection.ReceiveAsync(cancellationToken).ConfigureAwait(false);
            return connection.HasRoom(_context.Options.FrameBytes) ? connection : throw new InvalidDataException(
                $"the receiver grants {connection.CreditBytes} bytes, less than {_context.Options.FrameBytes}: " +
                "transfer.credit_bytes there must be at least transfer.frame_bytes here");
        }
        catch
        {
            await connection.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }
}

/// <summary>One call of <c>Transfer.Frames</c>.</summary>
internal sealed class GrpcFrameConnection(
    AsyncDuplexStreamingCall<OutgoingFrame, FrameReplyMessage> call, FrameReplyMessage reply, TransferFault fault)
    : IFrameConnection
{
    private readonly OutgoingFrame _message = new();
    private long _creditBytes;

    public TransferTransport Transport => TransferTransport.Grpc;

    public long CreditBytes => Interlocked.Read(ref _creditBytes);

    public bool HasRoom(int bytes) => CreditBytes >= bytes;

    public ValueTask SendAsync(FrameToSend frame)
    {
        Interlocked.Add(ref _creditBytes, -frame.Header.Bytes);
        _message.Header = frame.Header;
        _message.Source = frame.Source;
        _message.IsDamaged = fault.CorruptsNextFrame();
        _message.IsWritten = false;
        Task write;
        try
        {
            write = call.RequestStream.WriteAsync(_message);
        }
        catch
        {
            frame.EndRead();
            throw;
        }

        // The message is written before the first wait, unless the stream is not there yet.
        if (!_message.IsWritten)
        {
            return EndReadAfterAsync(write, frame);
        }

        frame.EndRead();
        return new ValueTask(write);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<FrameReply> ReceiveAsync(CancellationToken cancellationToken)
    {
        // The token already ends the call.
        if (!await call.ResponseStream.MoveNext(CancellationToken.None).ConfigureAwait(false))
        {
            throw new IOException("the receiver ended the stream");
        }

        Interlocked.Add(ref _creditBytes, reply.Reply.CreditBytes);
        return reply.Reply;
    }

    public void Abort() => call.Dispose();

    public ValueTask DisposeAsync()
    {
        call.Dispose();
        return ValueTask.CompletedTask;
    }

    private static async ValueTask EndReadAfterAsync(Task write, FrameToSend frame)
    {
        try
        {
            await write.ConfigureAwait(false);
        }
        finally
        {
            frame.EndRead();
        }
    }
}
