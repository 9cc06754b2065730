namespace Kimi.Mooncake.Transfer;

/// <summary>
/// Keeps one connection to a receiver and moves frames over it: takes the next of the peer's frames whenever the
/// connection has room, and puts back what was not answered when the connection is lost.
/// </summary>
internal sealed class Lane : IAsyncDisposable
{
    private static readonly TimeSpan ReconnectDelayFirst = TimeSpan.FromMilliseconds(10);

    private readonly PeerLink _peer;
    private readonly Func<CancellationToken, Task<IFrameConnection>> _connect;
    private readonly SendingContext _context;
    private readonly TimeSpan _reconnectDelayMax;
    private readonly WakeSignal _wake = new();
    private readonly CancellationTokenSource _stop = new();

    // Ring of the frames without an answer; the peer's gate guards this and what follows.
    private readonly FrameToSend[] _inFlight;
    private int _inFlightFirst;
    private int _inFlightCount;

    // Most frames without an answer now. Answers that are on their way when a connection breaks are lost with it: a
    // sender that goes ahead of them as far as it may would never get on where connections break often. So after a
    // loss a frame is answered before a second one goes, and each answer makes room for one more.
    private int _inFlightMax;
    private long _answered;
    private long _progressTimestamp;

    // The first known reason why the connection is of no use any more.
    private volatile Exception? _lost;
    private volatile IFrameConnection? _connection;
    private Task _running = Task.CompletedTask;

    public Lane(PeerLink peer, Func<CancellationToken, Task<IFrameConnection>> connect, SendingContext context)
    {
        _peer = peer;
        _connect = connect;
        _context = context;
        _reconnectDelayMax = TimeSpan.FromMilliseconds(context.Options.ReconnectDelayMsMax);
        _inFlight = new FrameToSend[context.Options.FramesInFlightMax];
        _inFlightMax = _inFlight.Length;
    }

    /// <summary>Whether a connection stands now.</summary>
    public bool IsConnected { get; private set; }

    public void Start() => _running = Task.Run(RunAsync);

    public void Wake() => _wake.Set();

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        _wake.Set();
        await _running.ConfigureAwait(false);
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        var delayFirst = ReconnectDelayFirst < _reconnectDelayMax ? ReconnectDelayFirst : _reconnectDelayMax;
        var delay = delayFirst;
        while (!_stop.IsCancellationRequested)
        {
            if (!_peer.HasWaiting())
            {
                await _wake.WaitAsync().ConfigureAwait(false);
                continue;
            }

            var answered = _answered;
            try
            {
                await ServeConnectionAsync().ConfigureAwait(false);
            }
            catch (TransportUnavailableException e)
            {
                _peer.FallBack(e.Message);
                return;
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                LoseConnection(_lost ?? e);
            }

            if (!_stop.IsCancellationRequested)
            {
                delay = _answered > answered ? delayFirst : delay;
                await PauseAsync(delay).ConfigureAwait(false);
                delay = delay * 2 < _reconnectDelayMax ? delay * 2 : _reconnectDelayMax;
            }
        }
    }

    private async Task PauseAsync(TimeSpan delay)
    {
        try
        {
            await Task.Delay(delay, _context.Time, _stop.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            _wake.Set();
        }
    }

    private void LoseConnection(Exception cause)
    {
        if (_stop.IsCancellationRequested)
        {
            return;
        }

        _peer.ConnectionFailed(cause);
        TransferLog.ConnectionLost(_context.Logger, _peer.Address, cause.Message);
    }

    /// <summary>Connects, and sends until the connection is lost, with an exception, or the lane stops.</summary>
    private async Task ServeConnectionAsync()
    {
        _lost = null;
        using var end = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        var connection = await _connect(end.Token).ConfigureAwait(false);
        await using var aborting = end.Token.Register(connection.Abort).ConfigureAwait(false);
        _connection = connection;
        IsConnected = true;
        var receiving = Task.CompletedTask;
        try
        {
            receiving = Task.Run(() => ReceiveAsync(connection, end.Token));
            await SendAsync(connection).ConfigureAwait(false);
        }
        finally
        {
            IsConnected = false;
            _connection = null;
            await end.CancelAsync().ConfigureAwait(false);
            await receiving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await connection.DisposeAsync().ConfigureAwait(false);
            PutBackAll();
        }

        await receiving.ConfigureAwait(false);
    }

    private async Task SendAsync(IFrameConnection connection)
    {
        while (_lost is null && !_stop.IsCancellationRequested)
        {
            if (_peer.TryTake(this, connection, out var frame))
            {
                if (_context.Fault.DropsConnectionNow())
                {
                    frame.EndRead();
                    throw new IOException("dropped on purpose");
                }

                await connection.SendAsync(frame).ConfigureAwait(false);
            }
            else
            {
                await _wake.WaitAsync().ConfigureAwait(false);
            }
        }
    }

    private async Task ReceiveAsync(IFrameConnection connection, CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                var reply = await connection.ReceiveAsync(cancellationToken).ConfigureAwait(false);
                if (reply.Outcome != FrameOutcome.None)
                {
                    _peer.Answer(this, connection.Transport, reply);
                }

                _wake.Set();
            }
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            // Sending may wait for a receiver that takes nothing any more.
            Abandon(connection, e);
            throw;
        }
        finally
        {
            _wake.Set();
        }
    }

    /// <summary>Whether nothing was answered for that long while frames were without an answer; peer's gate.</summary>
    public bool IsStalled(long now, TimeSpan limit) =>
        _inFlightCount > 0 && _context.Time.GetElapsedTime(_progressTimestamp, now) >= limit;

    /// <summary>Gives up the connection as it is now; what is waiting goes over a new one.</summary>
    public void Abandon(Exception cause)
    {
        if (_connection is { } connection)
        {
            Abandon(connection, cause);
        }
    }

    private void Abandon(IFrameConnection connection, Exception cause)
    {
        Interlocked.CompareExchange(ref _lost, cause, null);
        connection.Abort();
    }

    /// <summary>Whether another frame may be without an answer; peer's gate.</summary>
    public bool HasRoomInFlight => _inFlightCount < _inFlightMax;

    /// <summary>Peer's gate.</summary>
    public void AddInFlight(in FrameToSend frame)
    {
        if (_inFlightCount == 0)
        {
            _progressTimestamp = _peer.Timestamp();
        }

        _inFlight[(_inFlightFirst + _inFlightCount) % _inFlight.Length] = frame;
        _inFlightCount++;
    }

    /// <summary>The frame that an answer belongs to; peer's gate.</summary>
    /// <exception cref="InvalidDataException">It is not the one whose turn it is.</exception>
    public FrameToSend TakeAnswered(in FrameReply reply)
    {
        var frame = _inFlightCount > 0 ? _inFlight[_inFlightFirst] : default;
        if (frame.Session is null || frame.Header.Target != reply.Target || frame.Header.Sequence != reply.Sequence)
        {
            throw new InvalidDataException(
                $"{_peer.Address} answers frame {reply.Sequence} of {reply.Target}, which is not the next one");
        }

        _inFlight[_inFlightFirst] = default;
        _inFlightFirst = (_inFlightFirst + 1) % _inFlight.Length;
        _inFlightCount--;
        _inFlightMax = Math.Min(_inFlightMax + 1, _inFlight.Length);
        _answered++;
        _progressTimestamp = _peer.Timestamp();
        return frame;
    }

    private void PutBackAll()
    {
        lock (_peer.Gate)
        {
            for (; _inFlightCount > 0; _inFlightCount--)
            {
                _peer.PutBack(_inFlight[_inFlightFirst]);
                _inFlight[_inFlightFirst] = default;
                _inFlightFirst = (_inFlightFirst + 1) % _inFlight.Length;
            }

            _inFlightMax = 1;
        }

        _peer.WakeLanes();
    }
}
