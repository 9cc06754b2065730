using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Transfer;

/// <summary>Bounds and security of connections between the processes of a cluster.</summary>
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

    /// <summary>Channels to other processes that may be there at once.</summary>
    [Setting("Channels to other processes that may be there at once; one not in use makes room for another.",
        Unit = "channels", Min = 1, Max = 100_000)]
    public int ChannelsMax { get; init; } = 1024;

    /// <summary>Times that a call which changes nothing is tried while its process cannot be reached.</summary>
    [Setting("Times that a call which changes nothing is tried while its process cannot be reached; 1 repeats none.",
        Unit = "attempts", Min = 1, Max = 5)]
    public int AttemptsMax { get; init; } = 3;

    /// <summary>Time until such a call is tried again; it doubles with each attempt.</summary>
    [Setting("Longest time until such a call is tried again the first time; it doubles with each attempt.",
        Unit = "ms", Min = 1, Max = 60_000)]
    public int RetryDelayMs { get; init; } = 50;

    /// <summary>Greatest such time.</summary>
    [Setting("Longest time until such a call is tried again any time.", Unit = "ms", Min = 1, Max = 60_000)]
    public int RetryDelayMsMax { get; init; } = 1000;

    /// <summary>Failures of calls to one process after which none is repeated until enough have succeeded.</summary>
    [Setting("Failures of calls to one process after which none is repeated until enough calls have succeeded.",
        Unit = "failures", Min = 1, Max = 500)]
    public int RetryBudget { get; init; } = 20;

    /// <summary>How much of a failure a call that succeeds makes up for.</summary>
    [Setting("How much of a failure a call that succeeds makes up for.", Unit = "failures", Min = 0.001, Max = 100)]
    public double RetryBudgetRefill { get; init; } = 0.1;

    /// <summary>Folder with the certificates of TLS; empty where connections are not encrypted.</summary>
    [Setting("Folder with ca.crt, tls.crt and tls.key: connections are encrypted and both sides prove who they are; " +
        "empty is off.")]
    public string Tls { get; init; } = "";

    /// <summary>Allows connections without encryption beyond this machine.</summary>
    [Setting("Allows connections without encryption to and from other machines; who can reach the port can use it.")]
    public bool Insecure { get; init; }
}
