using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// The channels of a process to the others, by address. A channel is made by the first call to its address; when there
/// are as many as may be, the one without open calls that was used longest ago makes room.
/// </summary>
public sealed class PeerChannels : IDisposable
{
    private readonly Lock _lock = new();
    private readonly Dictionary<(string Address, int Connection), Entry> _entries = [];
    private readonly PeerOptions _options;
    private readonly PeerCredentials _credentials;
    private readonly ILoggerFactory _loggers;
    private long _uses;
    private bool _isDisposed;

    /// <summary>Makes an empty set of channels.</summary>
    /// <param name="options">Bounds, and how connections are secured.</param>
    /// <param name="loggers">Receives what the client says; owned by the caller.</param>
    /// <exception cref="ArgumentException">The certificates cannot be used; the message says why.</exception>
    public PeerChannels(PeerOptions options, ILoggerFactory loggers)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(loggers);
        _options = options;
        _loggers = loggers;
        _credentials = PeerCredentials.Load(options);
    }

    /// <summary>Channels that exist at the moment.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _entries.Count;
            }
        }
    }

    /// <summary>Makes calls to a process over the connection that all callers share.</summary>
    /// <param name="address">Address of the form <c>http://HOST:PORT</c>, with TLS <c>https://HOST:PORT</c>.</param>
    /// <returns>Usable until this object is disposed, also when its channel had to make room in between.</returns>
    /// <exception cref="ArgumentException">The address is not usable; the message says why.</exception>
    public CallInvoker Get(string address) => Get(address, connection: 0);

    /// <summary>Makes calls to a process over a connection of its own.</summary>
    /// <param name="address">As above.</param>
    /// <param name="connection">Number of the connection; callers that give the same one share it.</param>
    /// <returns>As above.</returns>
    /// <exception cref="ArgumentException">The address is not usable; the message says why.</exception>
    public CallInvoker Get(string address, int connection)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(connection);
        PeerChannel.RequireUsable(address, _options);
        return new PeerInvoker(this, address, connection);
    }

    /// <summary>Ends all calls and closes all connections.</summary>
    public void Dispose()
    {
        Entry[] entries;
        lock (_lock)
        {
            _isDisposed = true;
            entries = [.. _entries.Values];
            _entries.Clear();
        }

        foreach (var entry in entries)
        {
            entry.Channel.Dispose();
        }

        _credentials.Dispose();
    }

    /// <summary>Takes the channel for one call.</summary>
    /// <exception cref="RpcException">All channels have open calls, and there are as many as may be.</exception>
    internal Use Take(string address, int connection)
    {
        Entry? removed = null;
        Entry? entry;
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            if (!_entries.TryGetValue((address, connection), out entry))
            {
                removed = MakeRoom(address);
                var channel = PeerChannel.Create(address, _options, _credentials, _loggers);
                entry = new Entry((address, connection), channel);
                _entries.Add(entry.Key, entry);
            }

            entry.Calls++;
            entry.LastUse = ++_uses;
        }

        removed?.Channel.Dispose();
        return new Use(this, entry);
    }

    private Entry? MakeRoom(string address)
    {
        if (_entries.Count < _options.ChannelsMax)
        {
            return null;
        }

        var oldest = _entries.Values.Where(entry => entry.Calls == 0).MinBy(entry => entry.LastUse);
        if (oldest is null)
        {
            throw new RpcException(new Status(
                StatusCode.ResourceExhausted,
                $"no channel to {address}: all {_options.ChannelsMax} (peer.channels_max) have open calls"));
        }

        _entries.Remove(oldest.Key);
        return oldest;
    }

    /// <summary>One call's hold on a channel, given back once.</summary>
    internal sealed class Use(PeerChannels owner, Entry entry)
    {
        private bool _isOver;

        public CallInvoker Invoker => entry.Channel.Invoker;

        public void End()
        {
            lock (owner._lock)
            {
                entry.Calls -= _isOver ? 0 : 1;
                _isOver = true;
            }
        }
    }

    internal sealed class Entry((string Address, int Connection) key, PeerChannel channel)
    {
        public (string Address, int Connection) Key { get; } = key;

        public PeerChannel Channel { get; } = channel;

        public int Calls { get; set; }

        public long LastUse { get; set; }
    }
}
