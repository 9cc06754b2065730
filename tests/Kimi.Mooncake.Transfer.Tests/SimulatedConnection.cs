using System.Threading.Channels;

namespace Kimi.Mooncake.Transfer.Tests;

/// <summary>A connection that does with a frame what the test says.</summary>
/// <param name="send">Gets each frame; when it ends the next one may come.</param>
internal sealed class SimulatedConnection(Func<SimulatedConnection, FrameHeader, Task> send) : IFrameConnection
{
    private const int RepliesMax = 1024;

    private readonly Channel<FrameReply> _replies = Channel.CreateBounded<FrameReply>(RepliesMax);
    private readonly TaskCompletionSource _aborted = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public TransferTransport Transport => TransferTransport.Tcp;

    /// <summary>Fails when the connection is aborted.</summary>
    public Task Aborted => _aborted.Task;

    public bool HasRoom(int bytes) => true;

    public async ValueTask SendAsync(FrameToSend frame)
    {
        frame.EndRead();
        await send(this, frame.Header);
    }

    /// <summary>Says that a frame was written; lost once the connection is aborted.</summary>
    public void Answer(in FrameHeader frame) => _replies.Writer.TryWrite(
        new FrameReply(frame.Target, frame.Sequence, FrameOutcome.Written, (uint)frame.Bytes));

    /// <summary>Ends it from the other side, after the answers so far.</summary>
    public void End() => _replies.Writer.TryComplete(new IOException("the receiver is gone"));

    // As with a socket only aborting ends this.
    public ValueTask<FrameReply> ReceiveAsync(CancellationToken cancellationToken) =>
        _replies.Reader.ReadAsync(CancellationToken.None);

    public void Abort()
    {
        var failure = new IOException("aborted");
        _aborted.TrySetException(failure);
        _replies.Writer.TryComplete(failure);
    }

    public ValueTask DisposeAsync()
    {
        Abort();
        return ValueTask.CompletedTask;
    }
}
