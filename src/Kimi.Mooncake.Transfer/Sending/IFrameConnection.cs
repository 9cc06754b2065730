namespace Kimi.Mooncake.Transfer;

/// <summary>
/// One connection to a receiver. Frames are answered in the order in which they were sent. Any exception means that the
/// connection is lost. One caller sends and one receives, at the same time.
/// </summary>
internal interface IFrameConnection : IAsyncDisposable
{
    TransferTransport Transport { get; }

    /// <summary>Whether a frame of that size may be sent now. Only sending makes it false.</summary>
    bool HasRoom(int bytes);

    /// <summary>Sends a frame for which there is room.</summary>
    /// <param name="frame">The frame; the connection calls <see cref="FrameToSend.EndRead"/> when it has
    /// copied.</param>
    /// <returns>When the next frame may be sent.</returns>
    ValueTask SendAsync(FrameToSend frame);

    /// <summary>The next answer; <see cref="FrameOutcome.None"/> says only that there may be more room.</summary>
    ValueTask<FrameReply> ReceiveAsync(CancellationToken cancellationToken);

    /// <summary>
    /// Ends a waiting <see cref="SendAsync"/> and <see cref="ReceiveAsync"/>. From any thread, and again at any time.
    /// Disposing comes after both callers have ended.
    /// </summary>
    void Abort();
}

/// <summary>A frame with where its payload lies, while that is being read.</summary>
internal readonly record struct FrameToSend(
    TransferSession Session, int Region, int Part, FrameHeader Header, nint Source)
{
    /// <summary>The source is not read any more.</summary>
    public void EndRead() => Session.EndRead();
}
