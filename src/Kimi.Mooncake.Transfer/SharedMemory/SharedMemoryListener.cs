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

    private static readonly TimeSpan HandshakeTimeMax = TimeSpan.FromSeconds(30);

    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly ReceivingEnd _receiving;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly ServedSockets _served = new();
    private readonly Task _accepting;

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

        _accepting = Task.Run(() => _served.AcceptAsync(_socket, ServeAsync, _logger));
    }

    /// <summary>Where to connect to, <c>@</c> standing for the zero that abstract names begin with.</summary>
    public string Address { get; }

    public static UnixDomainSocketEndPoint EndPointOf(string address) => address.StartsWith(AbstractMark)
        ? new UnixDomainSocketEndPoint($"\0{address[1..]}")
        : throw new InvalidDataException($"'{address}' is no address of shared memory; expected @NAME");

    public async ValueTask DisposeAsync()
    {
        await _served.StopAsync(_socket).ConfigureAwait(false);
        await _accepting.ConfigureAwait(false);
    }

    private async Task ServeAsync(Socket socket)
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
            TransferLog.SenderLost(_logger, e.Message);
            return null;
        }
    }
}
