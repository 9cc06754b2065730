using System.Net;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// The connections to one other process: HTTP/2 without encryption, opened when first needed and again after a loss.
/// </summary>
public sealed class PeerChannel : IDisposable
{
    // A peer that comes back is found within this, however long it was away.
    private static readonly TimeSpan ReconnectDelayMax = TimeSpan.FromSeconds(1);

    private readonly GrpcChannel _channel;

    private PeerChannel(GrpcChannel channel, Uri address)
    {
        _channel = channel;
        Address = address;
        Invoker = channel.CreateCallInvoker();
    }

    /// <summary>The other process.</summary>
    public Uri Address { get; }

    /// <summary>Makes calls; usable until the channel is disposed.</summary>
    public CallInvoker Invoker { get; }

    /// <summary>Makes a channel; nothing is opened yet.</summary>
    /// <param name="address">Address of the form <c>http://HOST:PORT</c>.</param>
    /// <param name="options">Bounds.</param>
    /// <param name="loggers">Receives what the client says; owned by the caller.</param>
    /// <exception cref="ArgumentException">The address is not usable; the message says why.</exception>
    public static PeerChannel Create(string address, PeerOptions options, ILoggerFactory loggers)
    {
        ArgumentNullException.ThrowIfNull(options);
        var uri = Parse(address);
        RequireAllowed(uri.Host, options);
        var handler = new SocketsHttpHandler
        {
            ConnectTimeout = TimeSpan.FromMilliseconds(options.ConnectTimeoutMs),
            KeepAlivePingDelay = TimeSpan.FromMilliseconds(options.KeepAliveDelayMs),
            KeepAlivePingTimeout = TimeSpan.FromMilliseconds(options.KeepAliveTimeoutMs),
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            EnableMultipleHttp2Connections = true,
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            UseProxy = false,
        };
        var channel = GrpcChannel.ForAddress(uri, new GrpcChannelOptions
        {
            HttpHandler = handler,
            DisposeHttpClient = true,
            LoggerFactory = loggers,
            MaxReceiveMessageSize = options.MessageBytesMax,
            MaxSendMessageSize = options.MessageBytesMax,
            MaxReconnectBackoff = ReconnectDelayMax,
            InitialReconnectBackoff = ReconnectDelayMax / 10,
        });
        return new PeerChannel(channel, uri);
    }

    /// <summary>Checks that a host may be spoken to, or listened on, without encryption.</summary>
    /// <param name="host">Name or IP address.</param>
    /// <param name="options">Says whether more than this machine is allowed.</param>
    /// <exception cref="ArgumentException">It may not; the message says what to do.</exception>
    public static void RequireAllowed(string host, PeerOptions options)
    {
        ArgumentNullException.ThrowIfNull(host);
        ArgumentNullException.ThrowIfNull(options);
        var isLoopback = host == "localhost"
            || (IPAddress.TryParse(host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address));
        if (!isLoopback && !options.Insecure)
        {
            throw new ArgumentException(
                $"{host} is not a loopback address, and processes speak without encryption; " +
                "peer.insecure=true allows it",
                nameof(host));
        }
    }

    /// <inheritdoc />
    public void Dispose() => _channel.Dispose();

    private static Uri Parse(string address) =>
        Uri.TryCreate(address, UriKind.Absolute, out var uri) && uri.Scheme == Uri.UriSchemeHttp
            && uri.AbsolutePath == "/" && uri.Query.Length == 0 && uri.UserInfo.Length == 0
            ? uri
            : throw new ArgumentException(
                $"'{address}' is not the address of a worker; expected one such as http://127.0.0.1:9090",
                nameof(address));
}
