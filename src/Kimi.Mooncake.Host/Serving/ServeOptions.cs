using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>What one process does.</summary>
internal enum ServeRole
{
    /// <summary>Gateway and worker, in this process alone.</summary>
    All,

    /// <summary>The HTTP API; a worker in another process generates.</summary>
    Gateway,

    /// <summary>Model, KV pool and store, for a gateway in another process.</summary>
    Worker,
}

/// <summary>What the process does.</summary>
internal sealed record ServeOptions
{
    /// <summary>The role.</summary>
    [Setting("What the process does: all in one, the HTTP gateway of a worker elsewhere, or a worker over gRPC.")]
    public ServeRole Role { get; init; } = ServeRole.All;
}
