using System.Net;
using System.Net.Sockets;
using System.Runtime.Versioning;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// Moves bytes from this process's memory into memory that another process has reserved, and takes such bytes from
/// others. One for each process.
/// </summary>
public sealed class TransferEngine : IAsyncDisposable
{
    private readonly TransferOptions _options;
    private readonly SendingContext _sending;
    private readonly TransferCounters _counters = new();
    private readonly ReceivingEnd _receiving;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, PeerLink> _peers = [];
    private readonly SharedMemoryListener? _sharedMemory;
    private readonly TcpFrameListener? _tcp;
    private bool _isDisposed;

    /// <summary>Makes an engine; nothing is connected yet.</summary>
    /// <param name="options">Bounds.</param>
    /// <param name="peer">How connections are made.</param>
    /// <param name="loggers">Receives what happens; owned by the caller.</param>
    /// <param name="time">Clock of time limits and pauses.</param>
    /// <param name="fault">Faults to make on purpose; none when left out.</param>
    /// <exception cref="ArgumentException">Two options contradict each other; the message names them.</exception>
    /// <exception cref="SocketException">The address for TCP cannot be listened on.</exception>
    public TransferEngine(
        TransferOptions options, PeerOptions peer, ILoggerFactory loggers, TimeProvider time,
        TransferFaultOptions? fault = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(peer);
        ArgumentNullException.ThrowIfNull(loggers);
        Check(options, peer);
        var tcpAddress = TcpAddressOf(options, peer);
        var logger = loggers.CreateLogger<TransferEngine>();
        fault ??= new TransferFaultOptions();
        _options = options;
        _sending = new SendingContext(options, peer, new TransferFault(fault), _counters, loggers, logger, time);
        _receiving = new ReceivingEnd(options, _counters);
        Service = new TransferService(_receiving);
        _sharedMemory = options.SharedMemory && OperatingSystem.IsLinux() ? ListenForSharedMemory() : null;
        _tcp = tcpAddress is null ? null : new TcpFrameListener(tcpAddress, _receiving, logger);
        _receiving.TcpPort = _tcp?.Port ?? 0;
        if (_sending.Fault.IsOn)
        {
            TransferLog.FaultsOn(logger, fault.CorruptFrameOneIn, fault.DropConnectionOneIn);
        }
    }

    /// <summary>The gRPC service, to be mapped by the process's server as a singleton.</summary>
    public TransferService Service { get; }

    /// <summary>Opens memory of this process to one sender.</summary>
    /// <param name="slots">First byte of each slot, 0 for one that is not to be written. The memory stays the caller's
    /// and must be valid until the
    /// reservation's <see cref="Reservation.Dispose"/> has returned.</param>
    /// <param name="slotBytes">Bytes of every slot.</param>
    public Reservation Reserve(ReadOnlySpan<nint> slots, int slotBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(slotBytes);
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            return _receiving.Reservations.Add(slots, slotBytes);
        }
    }

    /// <summary>
    /// Begins a transfer into a reservation of another process. A reservation takes one transfer only; for a second one
    /// the
    /// other process reserves again.
    /// </summary>
    /// <param name="address">The other process, such as <c>http://127.0.0.1:9091</c>.</param>
    /// <param name="target">Its reservation.</param>
    /// <param name="priority">What the transfer is for.</param>
    /// <param name="framesMax">Most calls of <see cref="TransferSession.TryEnqueue"/>; memory is taken for
    /// them.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="TransferException">The process cannot be reached.</exception>
    /// <exception cref="ArgumentException">The address is not usable; the message says why.</exception>
    /// <exception cref="InvalidOperationException">Transfers to too many processes are open.</exception>
    public async ValueTask<TransferSession> BeginAsync(
        string address, ReservationId target, TransferPriority priority, int framesMax,
        CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(address);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(framesMax);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(framesMax, _options.FramesMax);
        if (!Enum.IsDefined(priority))
        {
            throw new ArgumentOutOfRangeException(nameof(priority), priority, "is no priority");
        }

        while (true)
        {
            var peer = PeerOf(address, out var evicted);
            if (evicted is not null)
            {
                await evicted.DisposeAsync().ConfigureAwait(false);
            }

            await peer.StartAsync(cancellationToken).ConfigureAwait(false);
            if (peer.TryBegin(target, priority, framesMax) is { } session)
            {
                return session;
            }
        }
    }

    /// <summary>What was counted, and what is open.</summary>
    public TransferStatistics Statistics()
    {
        lock (_gate)
        {
            return _counters.Read(
                _peers.Values.Sum(peer => peer.Sessions), _receiving.Reservations.Count, _receiving.OpenConnections);
        }
    }

    /// <summary>
    /// Fails all sessions, closes all connections and reservations; nothing reads or writes other parts' memory
    /// afterwards.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        List<PeerLink> peers;
        lock (_gate)
        {
            if (_isDisposed)
            {
                return;
            }

            _isDisposed = true;
            peers = [.. _peers.Values];
            _peers.Clear();
        }

        foreach (var peer in peers)
        {
            await peer.DisposeAsync().ConfigureAwait(false);
        }

        await _receiving.StopAsync().ConfigureAwait(false);
        if (OperatingSystem.IsLinux() && _sharedMemory is not null)
        {
            await _sharedMemory.DisposeAsync().ConfigureAwait(false);
        }

        if (_tcp is not null)
        {
            await _tcp.DisposeAsync().ConfigureAwait(false);
        }

        _receiving.Dispose();
    }

    private static void Check(TransferOptions options, PeerOptions peer)
    {
        if (options.CreditBytes < options.FrameBytes)
        {
            throw new ArgumentException(
                $"transfer.credit_bytes is {options.CreditBytes}; expected at least transfer.frame_bytes, " +
                $"{options.FrameBytes}", nameof(options));
        }

        if (FrameWire.FrameBytes(options.FrameBytes) > peer.MessageBytesMax)
        {
            throw new ArgumentException(
                $"transfer.frame_bytes is {options.FrameBytes}; with its header that is more than " +
                $"peer.message_bytes_max, {peer.MessageBytesMax}", nameof(options));
        }
    }

    private static IPAddress? TcpAddressOf(TransferOptions options, PeerOptions peer)
    {
        if (options.TcpAddress.Length == 0)
        {
            return null;
        }

        if (peer.Tls.Length > 0)
        {
            throw new ArgumentException(
                "transfer.tcp_address is set, which is without encryption, and peer.tls too; leave one of them out",
                nameof(options));
        }

        PeerChannel.RequireAllowed(options.TcpAddress, peer);
        return IPAddress.TryParse(options.TcpAddress, out var address) ? address : throw new ArgumentException(
            $"transfer.tcp_address is '{options.TcpAddress}'; expected an IP address", nameof(options));
    }

    [SupportedOSPlatform("linux")]
    private SharedMemoryListener? ListenForSharedMemory()
    {
        try
        {
            var listener = new SharedMemoryListener(_receiving, _sending.Logger, _sending.Time);
            _receiving.SharedMemoryAddress = listener.Address;
            return listener;
        }
        catch (SocketException refusal)
        {
            TransferLog.SharedMemoryOff(_sending.Logger, refusal.Message);
            return null;
        }
    }

    // Where there are as many peers as allowed, one that has been idle longest makes room.
    private PeerLink PeerOf(string address, out PeerLink? evicted)
    {
        evicted = null;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            if (_peers.TryGetValue(address, out var found))
            {
                return found;
            }

            if (_peers.Count >= _options.PeersMax)
            {
                evicted = _peers.Values.Where(peer => peer.TryClose()).FirstOrDefault()
                    ?? throw new InvalidOperationException(
                        $"transfers to {_peers.Count} processes are open, which is transfer.peers_max");
                _peers.Remove(evicted.Address);
            }

            return _peers[address] = new PeerLink(address, _sending);
        }
    }
}
