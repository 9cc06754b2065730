using Grpc.Core;
using Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// The way to one receiver: the sessions that send to it, the order of their frames, and the lanes that carry them.
/// </summary>
internal sealed class PeerLink : IAsyncDisposable
{
    private static readonly int Priorities = Enum.GetValues<TransferPriority>().Length;

    private readonly SessionQueue[] _queues = [.. Enumerable.Range(0, Priorities).Select(_ => new SessionQueue())];
    private readonly List<TransferSession> _sessions = [];
    private readonly SendingContext _context;
    private readonly PeerChannel[] _channels;
    private readonly SemaphoreSlim _starting = new(1, 1);
    private readonly ITimer _watch;

    private volatile Lane[] _lanes = [];

    // After a lost connection, until the receiver has answered again: a new session is not begun without asking it.
    private volatile bool _isInDoubt;
    private Exception? _lastFailure;
    private long _progressTimestamp;
    private bool _hasFallenBack;
    private bool _isClosed;

    /// <exception cref="ArgumentException">The address is not usable; the message says why.</exception>
    public PeerLink(string address, SendingContext context)
    {
        Address = address;
        _context = context;
        _channels =
        [
            .. Enumerable.Range(0, context.Options.ConnectionsPerPeer)
                .Select(_ => PeerChannel.Create(address, context.Peer, context.Loggers)),
        ];
        _progressTimestamp = Timestamp();
        var period = TimeSpan.FromMilliseconds(Math.Max(10, context.Options.StallMsMax / 8));
        _watch = context.Time.CreateTimer(_ => FailStalled(), state: null, period, period);
    }

    public string Address { get; }

    /// <summary>Guards the queues, the sessions and the lanes' lists of frames.</summary>
    public Lock Gate { get; } = new();

    public int Sessions
    {
        get
        {
            lock (Gate)
            {
                return _sessions.Count;
            }
        }
    }

    public long Timestamp() => _context.Time.GetTimestamp();

    /// <summary>Makes sure that the receiver is there, and that there are lanes to it.</summary>
    /// <exception cref="TransferException">It is not there.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        if (_lanes.Length > 0 && !_isInDoubt)
        {
            return;
        }

        await _starting.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_lanes.Length == 0 || _isInDoubt)
            {
                var hello = await HelloAsync(cancellationToken).ConfigureAwait(false);
                lock (Gate)
                {
                    _isInDoubt = false;
                    if (!_isClosed && _lanes.Length == 0)
                    {
                        _lanes = CanShareMemory(hello) ? [new Lane(this, OpenSharedMemoryAsync, _context)]
                            : CanUseTcp(hello) ? [.. _channels.Select(_ => new Lane(this, OpenTcpAsync, _context))]
                            : GrpcLanes();
                        StartLanes();
                    }
                }
            }
        }
        catch (RpcException failure)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw new TransferException(
                TransferFailure.Unreachable, $"{Address} cannot be reached: {failure.Status.Detail}", failure);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TransferException(
                TransferFailure.Unreachable, $"{Address} does not answer within transfer.stall_ms_max", e);
        }
        finally
        {
            _starting.Release();
        }
    }

    /// <summary>Begins a session; null when the link was closed meanwhile.</summary>
    public TransferSession? TryBegin(ReservationId target, TransferPriority priority, int framesMax)
    {
        var session = new TransferSession(this, target, priority, framesMax, _context.Options);
        lock (Gate)
        {
            if (_isClosed)
            {
                return null;
            }

            _sessions.Add(session);
            return session;
        }
    }

    /// <summary>Closes the link if no session uses it; whoever closes it disposes it.</summary>
    public bool TryClose()
    {
        lock (Gate)
        {
            _isClosed |= _sessions.Count == 0;
            return _isClosed;
        }
    }

    /// <summary>Gate.</summary>
    public void Queue(TransferSession session) => _queues[(int)session.Priority].Add(session);

    public void WakeLanes()
    {
        foreach (var lane in _lanes)
        {
            lane.Wake();
        }
    }

    /// <summary>Gate.</summary>
    public void Forget(TransferSession session) => _sessions.Remove(session);

    /// <summary>Gate.</summary>
    public void SessionFailed(TransferException failure)
    {
        _context.Counters.SessionFailed();
        TransferLog.SessionFailed(_context.Logger, failure.Reason, failure.Message);
    }

    public bool HasWaiting()
    {
        lock (Gate)
        {
            return TryFindNext(out _, out _, out _, out _, out _);
        }
    }

    /// <summary>The next frame, in order of priority, if the connection has room for it.</summary>
    public bool TryTake(Lane lane, IFrameConnection connection, out FrameToSend frame)
    {
        frame = default;
        lock (Gate)
        {
            if (!lane.HasRoomInFlight
                || !TryFindNext(out var session, out var header, out var source, out var region, out var part)
                || !connection.HasRoom(header.Bytes))
            {
                return false;
            }

            session.Take(region, part);
            var queue = _queues[(int)session.Priority];
            queue.RemoveFirst();
            queue.Add(session);
            frame = new FrameToSend(session, region, part, header, source);
            lane.AddInFlight(frame);
            return true;
        }
    }

    public void Answer(Lane lane, TransferTransport transport, in FrameReply reply)
    {
        FrameToSend frame;
        lock (Gate)
        {
            frame = lane.TakeAnswered(reply);
            _progressTimestamp = Timestamp();
            _isInDoubt = false;
            if (frame.Session.Complete(frame.Region, frame.Part, reply.Outcome, frame.Header.Bytes))
            {
                Queue(frame.Session);
                _context.Counters.Retransmit();
            }
        }

        switch (reply.Outcome)
        {
            case FrameOutcome.Written:
                _context.Counters.FrameSent(transport, frame.Session.Priority, frame.Header.Bytes);
                break;
            case FrameOutcome.Corrupt:
                _context.Counters.CorruptSent();
                TransferLog.CorruptFrame(_context.Logger, Address, reply.Sequence);
                break;
        }
    }

    /// <summary>Gate.</summary>
    public void PutBack(in FrameToSend frame)
    {
        if (frame.Session.PutBack(frame.Region, frame.Part))
        {
            Queue(frame.Session);
            _context.Counters.Retransmit();
        }
    }

    public void ConnectionFailed(Exception cause)
    {
        _context.Counters.ConnectionLost();
        lock (Gate)
        {
            _isInDoubt = true;
            _lastFailure = cause;
        }
    }

    /// <summary>Goes on with gRPC; another transport is not tried again with this receiver.</summary>
    public void FallBack(string reason)
    {
        lock (Gate)
        {
            if (_isClosed || _hasFallenBack)
            {
                return;
            }

            _hasFallenBack = true;
            _context.Counters.Fallback();
            TransferLog.FallBack(_context.Logger, Address, reason);

            var shared = _lanes;
            _lanes = [.. shared, .. GrpcLanes()];
            foreach (var lane in _lanes.Skip(shared.Length))
            {
                lane.Start();
            }
        }

        WakeLanes();
    }

    public async ValueTask DisposeAsync()
    {
        lock (Gate)
        {
            _isClosed = true;
            foreach (var session in _sessions)
            {
                session.Fail(TransferFailure.Cancelled, "this process stops");
            }
        }

        await _watch.DisposeAsync().ConfigureAwait(false);
        foreach (var lane in _lanes)
        {
            await lane.DisposeAsync().ConfigureAwait(false);
        }

        foreach (var channel in _channels)
        {
            channel.Dispose();
        }

        _starting.Dispose();
    }

    // Gate. Sessions that have nothing to send leave their queue here.
    private bool TryFindNext(
        out TransferSession session, out FrameHeader header, out nint source, out int region, out int part)
    {
        foreach (var queue in _queues)
        {
            while (queue.First is { } first)
            {
                if (first.TryPeek(out header, out source, out region, out part))
                {
                    session = first;
                    return true;
                }

                queue.RemoveFirst();
            }
        }

        session = null!;
        header = default;
        source = 0;
        region = 0;
        part = 0;
        return false;
    }

    private void FailStalled()
    {
        var limit = TimeSpan.FromMilliseconds(_context.Options.StallMsMax);
        Lane[] stalled;
        lock (Gate)
        {
            var now = Timestamp();
            for (var i = _sessions.Count - 1; i >= 0; i--)
            {
                var session = _sessions[i];
                var since = Math.Max(session.ProgressTimestamp, _progressTimestamp);
                if (!session.HasPending || _context.Time.GetElapsedTime(since, now) < limit)
                {
                    continue;
                }

                var reason = _lanes.Any(lane => lane.IsConnected)
                    ? TransferFailure.Stalled : TransferFailure.Unreachable;
                session.Fail(reason, $"nothing was acknowledged for {limit.TotalSeconds:0.#} s", _lastFailure);
            }

            stalled = [.. _lanes.Where(lane => lane.IsStalled(now, limit))];
        }

        // Other lanes may go on; without this the frames of this one would wait for as long as the system does.
        foreach (var lane in stalled)
        {
            lane.Abandon(new TimeoutException($"no frame was answered for {limit.TotalSeconds:0.#} s"));
        }
    }

    private async Task<HelloResponse> HelloAsync(CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(_context.AnswerTimeMax, _context.Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        var client = new Protocol.V1.Transfer.TransferClient(_channels[0].Invoker);
        try
        {
            return await client
                .HelloAsync(new HelloRequest { Host = MachineBoot.Name }, cancellationToken: either.Token)
                .ConfigureAwait(false);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.Cancelled)
        {
            throw new OperationCanceledException(e.Message, e, either.Token);
        }
    }

    private bool CanShareMemory(HelloResponse hello) =>
        _context.Options.SharedMemory && OperatingSystem.IsLinux()
        && hello.SharedMemory.Length > 0 && hello.Host == MachineBoot.Name;

    private Lane[] GrpcLanes() =>
    [
        .. _channels.Select(channel =>
        {
            var opener = new GrpcConnectionOpener(channel.Invoker, _context);
            return new Lane(this, opener.OpenAsync, _context);
        }),
    ];

    // A receiver that was started again has another address.
    private async Task<IFrameConnection> OpenSharedMemoryAsync(CancellationToken cancellationToken)
    {
        var hello = await HelloAsync(cancellationToken).ConfigureAwait(false);
        return OperatingSystem.IsLinux() && CanShareMemory(hello)
            ? await SharedMemoryConnection.OpenAsync(hello.SharedMemory, _context, cancellationToken)
                .ConfigureAwait(false)
            : throw new TransportUnavailableException("the receiver does not offer it any more");
    }

    private async Task<IFrameConnection> OpenTcpAsync(CancellationToken cancellationToken)
    {
        var hello = await HelloAsync(cancellationToken).ConfigureAwait(false);
        return CanUseTcp(hello)
            ? await TcpFrameConnection.OpenAsync(
                new Uri(Address).IdnHost, (int)hello.TcpPort, _context, cancellationToken).ConfigureAwait(false)
            : throw new TransportUnavailableException("the receiver does not take TCP any more");
    }

    private bool CanUseTcp(HelloResponse hello) => _context.Options.TcpAddress.Length > 0 && hello.TcpPort > 0;

    private void StartLanes()
    {
        foreach (var lane in _lanes)
        {
            lane.Start();
        }
    }
}
