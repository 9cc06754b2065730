namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// How busy a peer is, as far as this process knows: its own calls there that have not ended, and how long the peer
/// took to say what it has. What was measured is forgotten after a while, so that a peer that was slow is tried again.
/// Any thread may call.
/// </summary>
/// <param name="lifetime">After this time without a measurement nothing is known.</param>
/// <param name="time">Clock.</param>
internal sealed class PeerLoad(TimeSpan lifetime, TimeProvider time)
{
    // Share of a new measurement in the mean.
    private const double NewShare = 0.25;

    private readonly Lock _gate = new();
    private int _calls;
    private double _seconds;
    private long _measuredAt;

    /// <summary>Calls that have not ended.</summary>
    public int Calls => Volatile.Read(ref _calls);

    /// <summary>Mean time of an answer; 0 when nothing is known.</summary>
    public double AnswerSeconds
    {
        get
        {
            lock (_gate)
            {
                return Known();
            }
        }
    }

    public void Begin() => Interlocked.Increment(ref _calls);

    public void End() => Interlocked.Decrement(ref _calls);

    /// <summary>An answer came after this time.</summary>
    public void Answered(TimeSpan taken)
    {
        lock (_gate)
        {
            var known = Known();
            _seconds = known == 0 ? taken.TotalSeconds : known + (NewShare * (taken.TotalSeconds - known));
            _measuredAt = time.GetTimestamp();
        }
    }

    /// <summary>No answer came within this time: it takes at least as long.</summary>
    public void Silent(TimeSpan waited)
    {
        lock (_gate)
        {
            if (waited.TotalSeconds > Known())
            {
                _seconds = waited.TotalSeconds;
                _measuredAt = time.GetTimestamp();
            }
        }
    }

    private double Known() => _seconds > 0 && time.GetElapsedTime(_measuredAt) < lifetime ? _seconds : 0;
}
