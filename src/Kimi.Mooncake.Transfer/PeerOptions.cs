using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Transfer;

/// <summary>Bounds of connections between the processes of a cluster.</summary>
public sealed record PeerOptions
{
    /// <summary>Largest message in either direction.</summary>
    [Setting("Largest message between processes, in either direction.",
        Unit = "bytes", Min = 64 << 10, Max = 1 << 30)]
    public int MessageBytesMax { get; init; } = 32 << 20;

    /// <summary>Longest time until a connection stands.</summary>
    [Setting("Longest time until a connection to another process stands.", Unit = "ms", Min = 10, Max = 600_000)]
    public int ConnectTimeoutMs { get; init; } = 2000;

    /// <summary>Silence on a connection in use before the other side is asked whether it lives.</summary>
    [Setting("Silence on a connection in use before the other side is asked whether it lives.",
        Unit = "ms", Min = 1000, Max = 3_600_000)]
    public int KeepAliveDelayMs { get; init; } = 10_000;

    /// <summary>Longest time for its answer; then the connection and all calls on it are lost.</summary>
    [Setting("Longest time for its answer; then the connection and all calls on it are lost.",
        Unit = "ms", Min = 1000, Max = 3_600_000)]
    public int KeepAliveTimeoutMs { get; init; } = 10_000;

    /// <summary>Allows connections without encryption beyond this machine.</summary>
    [Setting("Allows connections without encryption to and from other machines; who can reach the port can use it.")]
    public bool Insecure { get; init; }
}
