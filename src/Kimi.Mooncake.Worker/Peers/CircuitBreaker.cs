namespace Kimi.Mooncake.Worker.Peers;

/// <summary>What a breaker lets through.</summary>
internal enum BreakerState
{
    /// <summary>Everything.</summary>
    Closed,

    /// <summary>Nothing until the pause is over.</summary>
    Open,

    /// <summary>One attempt, whose outcome decides.</summary>
    Probing,
}

/// <summary>
/// Keeps calls away from a peer that failed several times in a row: after a pause one attempt goes through, and its
/// outcome decides. Whoever was let in tells how it ended. Any thread may call.
/// </summary>
/// <param name="failuresMax">Failures in a row that open it.</param>
/// <param name="pause">How long it stays open.</param>
/// <param name="time">Clock.</param>
internal sealed class CircuitBreaker(int failuresMax, TimeSpan pause, TimeProvider time)
{
    private readonly Lock _gate = new();
    private int _failures;
    private long _openedAt;
    private BreakerState _state;

    public BreakerState State
    {
        get
        {
            lock (_gate)
            {
                return _state;
            }
        }
    }

    /// <summary>Whether an attempt would be let in now.</summary>
    public bool WouldEnter
    {
        get
        {
            lock (_gate)
            {
                return _state == BreakerState.Closed || (_state == BreakerState.Open && PauseIsOver());
            }
        }
    }

    /// <summary>Whether an attempt may be made; then one of the other members must be called.</summary>
    public bool TryEnter()
    {
        lock (_gate)
        {
            if (_state == BreakerState.Closed)
            {
                return true;
            }

            if (_state == BreakerState.Probing || !PauseIsOver())
            {
                return false;
            }

            _state = BreakerState.Probing;
            return true;
        }
    }

    /// <summary>An attempt succeeded.</summary>
    /// <returns>Whether that closed the breaker.</returns>
    public bool Succeed()
    {
        lock (_gate)
        {
            var closes = _state != BreakerState.Closed;
            _failures = 0;
            _state = BreakerState.Closed;
            return closes;
        }
    }

    /// <summary>An attempt failed.</summary>
    /// <returns>Whether that opened the breaker, which was closed before.</returns>
    public bool Fail()
    {
        lock (_gate)
        {
            var wasClosed = _state == BreakerState.Closed;
            _failures++;
            if (!wasClosed || _failures >= failuresMax)
            {
                _state = BreakerState.Open;
                _openedAt = time.GetTimestamp();
            }

            return wasClosed && _state == BreakerState.Open;
        }
    }

    /// <summary>An attempt was given up before it told anything about the peer.</summary>
    public void GiveUp()
    {
        lock (_gate)
        {
            _state = _state == BreakerState.Probing ? BreakerState.Open : _state;
        }
    }

    private bool PauseIsOver() => time.GetElapsedTime(_openedAt) >= pause;
}
