using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Transfer;

/// <summary>Where a process listens for the others of its cluster, and what it accepts.</summary>
public sealed record RpcOptions
{
    /// <summary>IP address to listen on.</summary>
    [Setting("IP address on which the other processes of the cluster are listened to.")]
    public string Address { get; init; } = "127.0.0.1";

    /// <summary>TCP port; 0 takes a free one.</summary>
    [Setting("TCP port for the other processes of the cluster; 0 takes a free one.", Min = 0, Max = 65_535)]
    public int Port { get; init; } = 9090;

    /// <summary>Connections that may be open at once; further ones are closed.</summary>
    [Setting("Connections of other processes that may be open at once.", Unit = "connections", Min = 1, Max = 100_000)]
    public int ConnectionsMax { get; init; } = 1024;

    /// <summary>Calls that may be open at once on one connection; further ones wait or use another.</summary>
    [Setting("Calls that may be open at once on one connection of another process.",
        Unit = "calls", Min = 1, Max = 100_000)]
    public int CallsPerConnectionMax { get; init; } = 1024;

    /// <summary>How long open calls may take to end when the process stops.</summary>
    [Setting("How long open calls of other processes may take to end when the process stops.",
        Unit = "s", Min = 0, Max = 3600)]
    public int ShutdownSeconds { get; init; } = 10;
}
