namespace Kimi.Mooncake.Transfer;

/// <summary>What <see cref="TransferStatistics"/> is made of; counted from any thread.</summary>
internal sealed class TransferCounters
{
    private static readonly int Priorities = Enum.GetValues<TransferPriority>().Length;
    private static readonly int Transports = Enum.GetValues<TransferTransport>().Length;

    private readonly long[] _sentFrames = new long[Transports * Priorities];
    private readonly long[] _sentBytes = new long[Transports * Priorities];
    private readonly long[] _receivedFrames = new long[Transports];
    private readonly long[] _receivedBytes = new long[Transports];
    private long _retransmits;
    private long _corruptSent;
    private long _corruptReceived;
    private long _staleReceived;
    private long _outOfRangeReceived;
    private long _sessionsFailed;
    private long _connectionsLost;
    private long _fallbacks;

    public void FrameSent(TransferTransport transport, TransferPriority priority, int bytes)
    {
        var index = ((int)transport * Priorities) + (int)priority;
        Interlocked.Increment(ref _sentFrames[index]);
        Interlocked.Add(ref _sentBytes[index], bytes);
    }

    public void FrameReceived(TransferTransport transport, FrameOutcome outcome, int bytes)
    {
        switch (outcome)
        {
            case FrameOutcome.Written:
                Interlocked.Increment(ref _receivedFrames[(int)transport]);
                Interlocked.Add(ref _receivedBytes[(int)transport], bytes);
                break;
            case FrameOutcome.Corrupt:
                Interlocked.Increment(ref _corruptReceived);
                break;
            case FrameOutcome.Stale:
                Interlocked.Increment(ref _staleReceived);
                break;
            default:
                Interlocked.Increment(ref _outOfRangeReceived);
                break;
        }
    }

    public void Retransmit() => Interlocked.Increment(ref _retransmits);

    public void CorruptSent() => Interlocked.Increment(ref _corruptSent);

    public void SessionFailed() => Interlocked.Increment(ref _sessionsFailed);

    public void ConnectionLost() => Interlocked.Increment(ref _connectionsLost);

    public void Fallback() => Interlocked.Increment(ref _fallbacks);

    public TransferStatistics Read(int sessions, int reservations, int receivingConnections) => new()
    {
        Sent =
        [
            .. from transport in Enum.GetValues<TransferTransport>()
               from priority in Enum.GetValues<TransferPriority>()
               let index = ((int)transport * Priorities) + (int)priority
               select new TransferFlow(
                   transport, priority, Volatile.Read(ref _sentFrames[index]), Volatile.Read(ref _sentBytes[index])),
        ],
        ReceivedFramesGrpc = Volatile.Read(ref _receivedFrames[(int)TransferTransport.Grpc]),
        ReceivedBytesGrpc = Volatile.Read(ref _receivedBytes[(int)TransferTransport.Grpc]),
        ReceivedFramesSharedMemory = Volatile.Read(ref _receivedFrames[(int)TransferTransport.SharedMemory]),
        ReceivedBytesSharedMemory = Volatile.Read(ref _receivedBytes[(int)TransferTransport.SharedMemory]),
        ReceivedFramesTcp = Volatile.Read(ref _receivedFrames[(int)TransferTransport.Tcp]),
        ReceivedBytesTcp = Volatile.Read(ref _receivedBytes[(int)TransferTransport.Tcp]),
        Retransmits = Volatile.Read(ref _retransmits),
        CorruptSent = Volatile.Read(ref _corruptSent),
        CorruptReceived = Volatile.Read(ref _corruptReceived),
        StaleReceived = Volatile.Read(ref _staleReceived),
        OutOfRangeReceived = Volatile.Read(ref _outOfRangeReceived),
        SessionsFailed = Volatile.Read(ref _sessionsFailed),
        ConnectionsLost = Volatile.Read(ref _connectionsLost),
        Fallbacks = Volatile.Read(ref _fallbacks),
        Sessions = sessions,
        Reservations = reservations,
        ReceivingConnections = receivingConnections,
    };
}
