using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Gateway;

/// <summary>Where a process without an HTTP API gives its health and metrics.</summary>
public sealed record StatusOptions
{
    /// <summary>IP address to listen on.</summary>
    [Setting("IP address on which a process that is no gateway gives /health and /metrics.")]
    public string Address { get; init; } = "127.0.0.1";

    /// <summary>TCP port; 0 does without.</summary>
    [Setting("TCP port of /health and /metrics of a process that is no gateway; 0 does without.",
        Min = 0, Max = 65_535)]
    public int Port { get; init; }

    /// <summary>Connections that may be open at once; further ones are closed.</summary>
    [Setting("Connections that may be open at once", Unit = "connections", Min = 1, Max = 100_000)]
    public int ConnectionsMax { get; init; } = 64;
}
