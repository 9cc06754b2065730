using Grpc.Core;
using Kimi.Mooncake.Conductor;
using Microsoft.Extensions.Logging;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster;

/// <summary>
/// The way to a conductor in another process. The nodes are asked for in the background, so that <see cref="State"/>
/// never waits.
/// </summary>
public sealed class RemoteRouter : IRouter, IAsyncDisposable
{
    private readonly Wire.Conductor.ConductorClient _client;
    private readonly string _address;
    private readonly RemoteWorkerOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stopping = new();
    private readonly Task _watching;
    private ClusterState _state;

    /// <summary>Starts to ask for the nodes.</summary>
    /// <param name="invoker">Makes the calls; owned by the caller, and must outlive the router.</param>
    /// <param name="address">Address of the conductor, for messages.</param>
    /// <param name="options">How often nodes are asked for.</param>
    /// <param name="time">Clock.</param>
    /// <param name="logger">Is told when the conductor goes and comes.</param>
    public RemoteRouter(
        CallInvoker invoker, string address, RemoteWorkerOptions options, TimeProvider time, ILogger logger)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(time);
        _client = new Wire.Conductor.ConductorClient(invoker);
        _address = address;
        _options = options;
        _time = time;
        _logger = logger;
        _state = Away($"conductor {address} has not answered yet");
        _watching = WatchAsync();
    }

    /// <inheritdoc />
    public ClusterState State() => Volatile.Read(ref _state);

    /// <inheritdoc />
    public IReadOnlyList<Metric> Metrics() => [];

    /// <inheritdoc />
    public async Task<IRouteLease> RouteAsync(RouteQuery query, CancellationToken cancellationToken)
    {
        var call = _client.Route(ConductorMessages.ToMessage(query), cancellationToken: cancellationToken);
        try
        {
            return await FirstAsync(call, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception fault)
        {
            call.Dispose();
            switch (fault)
            {
                case RpcException when cancellationToken.IsCancellationRequested:
                    throw new OperationCanceledException(cancellationToken);
                case RpcException { StatusCode: StatusCode.InvalidArgument } rpc:
                    throw new ArgumentException(rpc.Status.Detail, fault);
                case RpcException rpc:
                    throw Unavailable($"{rpc.StatusCode}, {rpc.Status.Detail}", fault);
                case InvalidDataException:
                    throw Unavailable($"sent what it may not: {fault.Message}", fault);
                default:
                    throw;
            }
        }
    }

    /// <summary>Stops to ask for nodes. Leases go on.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync().ConfigureAwait(false);
        await _watching.ConfigureAwait(false);
        _stopping.Dispose();
    }

    private static async Task<RemoteLease> FirstAsync(
        AsyncServerStreamingCall<Wire.RouteEvent> call, CancellationToken cancellationToken)
    {
        if (!await call.ResponseStream.MoveNext(cancellationToken).ConfigureAwait(false))
        {
            throw new InvalidDataException("the end of a route without a pair or a refusal");
        }

        var first = call.ResponseStream.Current;
        return first.EventCase switch
        {
            Wire.RouteEvent.EventOneofCase.Pair => new RemoteLease(call, ConductorMessages.ToPair(first.Pair)),
            Wire.RouteEvent.EventOneofCase.Refused =>
                throw RouteRefusals.ToException(ConductorMessages.ToRefusal(first.Refused)),
            _ => throw new InvalidDataException($"event {first.EventCase}; expected pair or refused"),
        };
    }

    private async Task WatchAsync()
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(_options.StatusIntervalMs), _time);
        try
        {
            do
            {
                await AskAsync().ConfigureAwait(false);
            }
            while (await timer.WaitForNextTickAsync(_stopping.Token).ConfigureAwait(false));
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            ClusterLog.WatchEnded(_logger, _address);
        }
    }

    private async Task AskAsync()
    {
        var before = State();
        ClusterState now;
        try
        {
            var deadline = _time.GetUtcNow().UtcDateTime + TimeSpan.FromMilliseconds(_options.StatusTimeoutMs);
            var list = await _client.ListNodesAsync(
                new Wire.ListNodesRequest(), deadline: deadline, cancellationToken: _stopping.Token)
                .ConfigureAwait(false);
            now = new ClusterState(
                [.. list.Nodes.Select(ConductorMessages.ToState)], checked((int)list.Waiting),
                checked((int)list.Routed), list.DegradedReason, AwayReason: "");
        }
        catch (RpcException) when (_stopping.IsCancellationRequested)
        {
            return;
        }
        catch (RpcException fault)
        {
            now = Away($"conductor {_address}: {fault.StatusCode}, {fault.Status.Detail}");
        }
        catch (Exception fault) when (fault is InvalidDataException or OverflowException)
        {
            now = Away($"conductor {_address} sent what it may not: {fault.Message}");
        }

        Volatile.Write(ref _state, now);
        if (now.AwayReason.Length > 0 && before.AwayReason.Length == 0)
        {
            ClusterLog.ConductorAway(_logger, now.AwayReason);
        }
        else if (now.AwayReason.Length == 0 && before.AwayReason.Length > 0)
        {
            ClusterLog.ConductorReady(_logger, _address);
        }
    }

    private ConductorUnavailableException Unavailable(string what, Exception cause) =>
        new($"conductor {_address}: {what}", cause);

    private static ClusterState Away(string reason) => new([], 0, 0, DegradedReason: "", reason);

    /// <summary>The open call is what the conductor counts by; when it breaks, the request goes on.</summary>
    private sealed class RemoteLease : IRouteLease
    {
        private readonly AsyncServerStreamingCall<Wire.RouteEvent> _call;
        private readonly CancellationTokenSource _decodeLost = new();
        private readonly CancellationTokenSource _prefillLost = new();
        private readonly Task _listening;

        public RemoteLease(AsyncServerStreamingCall<Wire.RouteEvent> call, WorkerPair pair)
        {
            _call = call;
            Pair = pair;
            DecodeLost = _decodeLost.Token;
            PrefillLost = _prefillLost.Token;
            _listening = ListenAsync();
        }

        public WorkerPair Pair { get; }

        public CancellationToken DecodeLost { get; }

        public CancellationToken PrefillLost { get; }

        public string LostReason { get; private set; } = "";

        public async ValueTask DisposeAsync()
        {
            _call.Dispose();
            await _listening.ConfigureAwait(false);
            _decodeLost.Dispose();
            _prefillLost.Dispose();
        }

        private async Task ListenAsync()
        {
            try
            {
                while (await _call.ResponseStream.MoveNext(CancellationToken.None).ConfigureAwait(false))
                {
                    if (_call.ResponseStream.Current.Lost is { } lost)
                    {
                        LostReason = lost.Reason;
                        await LoseAsync(lost.NodeId).ConfigureAwait(false);
                    }
                }
            }
            catch (RpcException fault)
            {
                // The lease was given back, or the conductor is lost; the workers know of neither.
                LostReason = fault.Status.Detail;
            }
            catch (ObjectDisposedException)
            {
                // The lease was given back between two events.
                return;
            }
        }

        private async Task LoseAsync(string nodeId)
        {
            if (nodeId == Pair.Decode.NodeId)
            {
                await _decodeLost.CancelAsync().ConfigureAwait(false);
            }

            if (nodeId == Pair.Prefill?.NodeId)
            {
                await _prefillLost.CancelAsync().ConfigureAwait(false);
            }
        }
    }
}
