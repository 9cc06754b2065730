namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// How fast blocks moved lately, from a peer or to and from the store; forgotten after a while, so that a peer that was
/// slow once is tried again. Any thread may call.
/// </summary>
/// <param name="lifetime">After this time without a transfer nothing is known.</param>
/// <param name="time">Clock.</param>
internal sealed class TransferRate(TimeSpan lifetime, TimeProvider time)
{
    // Weight of what was known before each new transfer.
    private const double Memory = 0.75;

    private readonly Lock _gate = new();
    private double _bytes;
    private double _seconds;
    private long _measuredAt;

    /// <summary>Bytes a second; 0 when nothing is known.</summary>
    public double BytesPerSecond
    {
        get
        {
            lock (_gate)
            {
                return _seconds > 0 && time.GetElapsedTime(_measuredAt) < lifetime ? _bytes / _seconds : 0;
            }
        }
    }

    /// <summary>The time at which a transfer starts.</summary>
    public long Start() => time.GetTimestamp();

    /// <summary>A transfer that began at <paramref name="started"/> is over.</summary>
    public void Add(long bytes, long started) => Add(bytes, time.GetElapsedTime(started));

    public void Add(long bytes, TimeSpan taken)
    {
        lock (_gate)
        {
            _bytes = (_bytes * Memory) + bytes;
            _seconds = (_seconds * Memory) + Math.Max(taken.TotalSeconds, 1e-6);
            _measuredAt = time.GetTimestamp();
        }
    }
}
