using System.Globalization;
using System.Net.Sockets;
using System.Runtime.Versioning;
using System.Security.Cryptography;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// Where senders of this machine offer their rings: a Unix socket without a file. Only processes of the same user are
/// listened to. Nothing of it outlives the process.
/// </summary>
[SupportedOSPlatform("linux")]
internal sealed class SharedMemoryListener : IAsyncDisposable
{
    private const int Backlog = 64;
    private const char AbstractMark = '@';

    private static readonly TimeSpan HandshakeTimeMax = TimeSpan.FromSeconds(5);

    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly ReceivingEnd _receiving;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly Lock _gate = new();
    private readonly HashSet<Socket> _open = [];
    private readonly HashSet<Task> _serving = [];
    private readonly Task _accepting;
    private bool _isStopped;

    /// <exception cref="SocketException">The system refuses.</exception>
    public SharedMemoryListener(ReceivingEnd receiving, ILogger logger, TimeProvider time)
    {
        _receiving = receiving;
        _logger = logger;
        _time = time;
        var suffix = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8));
        Address = string.Create(
            CultureInfo.InvariantCulture, $"{AbstractMark}mooncake-transfer-{Environment.ProcessId}-{suffix}");
        try
        {
            _socket.Bind(EndPointOf(Address));
            _socket.Listen(Backlog);
        }
        catch
        {
            _socket.Dispose();
            throw;
        }

        _accepting = Task.Run(AcceptAsync);
    }

    /// <summary>Where to connect to, <c>@</c> standing for the zero that abstract names begin with.</summary>
    public string Address { get; }

    public static UnixDomainSocketEndPoint EndPointOf(string address) => address.StartsWith(AbstractMark)
        ? new UnixDomainSocketEndPoint($"\0{address[1..]}")
        : throw new InvalidDataException($"'{address}' is no address of shared memory; expected @NAME");

    public async ValueTask DisposeAsync()
    {
        Task[] serving;
        lock (_gate)
        {
            _isStopped = true;
            _socket.Dispose();
            foreach (var socket in _open)
            {
                socket.Dispose();
            }

            serving = [.. _serving];
        }

        await _accepting.ConfigureAwait(false);
        await Task.WhenAll(serving).ConfigureAwait(false);
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            Socket socket;
            try
            {
                socket = await _socket.AcceptAsync().ConfigureAwait(false);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                if (!_isStopped)
                {
                    TransferLog.SharedMemoryOff(_logger, e.Message);
                }

                return;
            }

            Serve(socket);
        }
    }

    private void Serve(Socket socket)
    {
        lock (_gate)
        {
            if (_isStopped)
            {
                socket.Dispose();
                return;
            }

            _open.Add(socket);
            var serving = Task.Run(() => ServeAsync(socket));
            _serving.Add(serving);
            _ = serving.ContinueWith(ended => Forget(socket, ended), TaskScheduler.Default);
        }
    }

    private void Forget(Socket socket, Task ended)
    {
        lock (_gate)
        {
            _open.Remove(socket);
            _serving.Remove(ended);
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        using var owned = socket;
        try
        {
            using var slot = _receiving.TryOpen();
            using var ring = slot is null ? null : await OpenAsync(socket).ConfigureAwait(false);
            byte[] answer = [ring is null ? SharedMemoryHandshake.Refused : SharedMemoryHandshake.Accepted];
            await socket.SendAsync(answer, SocketFlags.None).ConfigureAwait(false);
            if (ring is not null)
            {
                using var receiver = new SharedMemoryReceiver(ring, new Doorbell(socket), _receiving);
                await receiver.RunAsync().ConfigureAwait(false);
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException
            or OperationCanceledException or InvalidDataException)
        {
            if (!_isStopped)
            {
                TransferLog.SharedMemorySenderLost(_logger, e.Message);
            }
        }
    }

    private async Task<SharedRing?> OpenAsync(Socket socket)
    {
        using var limit = new CancellationTokenSource(HandshakeTimeMax, _time);
        var offer = await SharedMemoryHandshake.ReceiveAsync(socket, limit.Token).ConfigureAwait(false);
        var (processId, userId) = SharedMemoryHandshake.PeerOf(socket);
        if (userId != LinuxMemory.EffectiveUserId())
        {
            TransferLog.SharedMemoryOfOther(_logger, userId);
            return null;
        }

        try
        {
            var path = string.Create(CultureInfo.InvariantCulture, $"/proc/{processId}/fd/{offer.Descriptor}");
            using var memory = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            return SharedRing.Open(memory, offer.RingBytes, offer.Nonce.Span);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            TransferLog.SharedMemorySenderLost(_logger, e.Message);
            return null;
        }
    }
}
