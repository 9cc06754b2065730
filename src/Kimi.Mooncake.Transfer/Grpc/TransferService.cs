using Grpc.Core;
using Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// The gRPC service <c>kimi.mooncake.v1.Transfer</c>: a payload goes from the connection's buffers straight to where it
/// belongs.
/// </summary>
public sealed class TransferService : TransferServiceBase
{
    private static readonly WriteOptions WithFlush = new();
    private static readonly WriteOptions WithoutFlush = new(WriteFlags.BufferHint);

    private readonly ReceivingEnd _receiving;

    internal TransferService(ReceivingEnd receiving) => _receiving = receiving;

    /// <inheritdoc />
    public override Task<HelloResponse> Hello(HelloRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        return Task.FromResult(_receiving.Hello(request.Host));
    }

    /// <inheritdoc />
    public override async Task Frames(
        IAsyncStreamReader<IncomingFrame> requestStream, IServerStreamWriter<FrameReplyMessage> responseStream,
        ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(requestStream);
        ArgumentNullException.ThrowIfNull(responseStream);
        ArgumentNullException.ThrowIfNull(context);
        using var slot = _receiving.TryOpen() ?? throw new RpcException(new Status(
            StatusCode.ResourceExhausted, "more senders than transfer.receiving_connections_max"));
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, _receiving.Stopped);
        var frame = new IncomingFrame(_receiving.Reservations);
        frame.Enter();
        try
        {
            await ServeAsync(frame, requestStream, responseStream, stop.Token).ConfigureAwait(false);
        }
        catch (InvalidDataException damage)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, damage.Message));
        }
        catch (Exception e) when (stop.IsCancellationRequested && e is OperationCanceledException or IOException
            or InvalidOperationException or RpcException)
        {
            throw new RpcException(new Status(StatusCode.Unavailable, "the receiver stops"));
        }
    }

    private async Task ServeAsync(
        IncomingFrame frame, IAsyncStreamReader<IncomingFrame> frames, IServerStreamWriter<FrameReplyMessage> replies,
        CancellationToken stop)
    {
        var message = new FrameReplyMessage
        {
            Reply = new FrameReply(default, 0, FrameOutcome.None, (uint)_receiving.CreditBytes),
        };
        await replies.WriteAsync(message, CancellationToken.None).ConfigureAwait(false);
        var next = frames.MoveNext(stop);
        while (await next.ConfigureAwait(false))
        {
            var header = frame.Header;
            message.Reply = new FrameReply(header.Target, header.Sequence, frame.Outcome, (uint)header.Bytes);
            // May take the next frame at once. Its reply follows, so that this one need not be flushed.
            next = frames.MoveNext(stop);
            replies.WriteOptions = next.IsCompletedSuccessfully ? WithoutFlush : WithFlush;
            await replies.WriteAsync(message, CancellationToken.None).ConfigureAwait(false);
        }
    }
}
