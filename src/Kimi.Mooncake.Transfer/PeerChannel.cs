using System.Net;
using System.Net.Security;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// The connections to one other process: HTTP/2, encrypted where certificates are given, opened when first needed and
/// again after a loss.
/// </summary>
public sealed class PeerChannel : IDisposable
{
    // A peer that comes back is found within this, however long it was away.
    private static readonly TimeSpan ReconnectDelayMax = TimeSpan.FromSeconds(1);

    private readonly GrpcChannel _channel;
    private readonly PeerCredentials? _owned;

    private PeerChannel(GrpcChannel channel, Uri address, PeerCredentials? owned)
    {
        _channel = channel;
        _owned = owned;
        Address = address;
        Invoker = channel.CreateCallInvoker();
    }

    /// <summary>The other process.</summary>
    public Uri Address { get; }

    /// <summary>Makes calls; usable until the channel is disposed.</summary>
    public CallInvoker Invoker { get; }

    /// <summary>Makes a channel with certificates of its own; nothing is opened yet.</summary>
    /// <param name="address">Address of the form <c>http://HOST:PORT</c>, with TLS <c>https://HOST:PORT</c>.</param>
    /// <param name="options">Bounds, and how the connection is secured.</param>
    /// <param name="loggers">Receives what the client says; owned by the caller.</param>
    /// <exception cref="ArgumentException">Address or certificates are not usable; the message says why.</exception>
    public static PeerChannel Create(string address, PeerOptions options, ILoggerFactory loggers)
    {
        RequireUsable(address, options);
        var credentials = PeerCredentials.Load(options);
        return Create(address, options, credentials, loggers, owned: credentials);
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
        if (!isLoopback && !options.Insecure && options.Tls.Length == 0)
        {
            throw new ArgumentException(
                $"{host} is not a loopback address, and processes speak without encryption; " +
                "peer.tls=FOLDER encrypts, peer.insecure=true allows it as it is",
                nameof(host));
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _channel.Dispose();
        _owned?.Dispose();
    }

    internal static PeerChannel Create(
        string address, PeerOptions options, PeerCredentials credentials, ILoggerFactory loggers,
        PeerCredentials? owned = null)
    {
        var uri = RequireUsable(address, options);
        var handler = new SocketsHttpHandler
        {
            ConnectTimeout = TimeSpan.FromMilliseconds(options.ConnectTimeoutMs),
            KeepAlivePingDelay = TimeSpan.FromMilliseconds(options.KeepAliveDelayMs),
            KeepAlivePingTimeout = TimeSpan.FromMilliseconds(options.KeepAliveTimeoutMs),
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            EnableMultipleHttp2Connections = true,
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            UseProxy = false,
            ActivityHeadersPropagator = PeerPropagator.Instance,
            SslOptions = credentials.Client ?? new SslClientAuthenticationOptions(),
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
            ServiceConfig = PeerRetries.Of(options),
        });
        return new PeerChannel(channel, uri, owned);
    }

    /// <summary>Reads an address and checks that it may be spoken to.</summary>
    internal static Uri RequireUsable(string address, PeerOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        var (scheme, other) = options.Tls.Length > 0
            ? (Uri.UriSchemeHttps, Uri.UriSchemeHttp)
            : (Uri.UriSchemeHttp, Uri.UriSchemeHttps);
        if (Uri.TryCreate(address, UriKind.Absolute, out var uri) && (uri.Scheme == scheme || uri.Scheme == other)
            && uri.AbsolutePath == "/" && uri.Query.Length == 0 && uri.UserInfo.Length == 0)
        {
            RequireAllowed(uri.Host, options);
            return uri.Scheme == scheme ? uri : throw new ArgumentException(
                options.Tls.Length > 0
                    ? $"'{address}' is not encrypted, but peer.tls is set; expected https://{uri.Authority}"
                    : $"'{address}' is encrypted, which needs certificates: peer.tls=FOLDER",
                nameof(address));
        }

        throw new ArgumentException(
            $"'{address}' is not the address of a worker; expected one such as {scheme}://127.0.0.1:9090",
            nameof(address));
    }
}
