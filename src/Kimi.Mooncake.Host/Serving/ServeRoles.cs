namespace Kimi.Mooncake.Host.Serving;

/// <summary>What one process does; several may be given.</summary>
[Flags]
internal enum ServeRoles
{
    None = 0,

    /// <summary>Everything in this process alone, without gRPC.</summary>
    All = 1,

    /// <summary>The HTTP API; the conductor too, where no other one is named.</summary>
    Gateway = 2,

    /// <summary>Knows the nodes, and picks the workers of each request.</summary>
    Conductor = 4,

    /// <summary>Computes prompts.</summary>
    Prefill = 8,

    /// <summary>Generates tokens.</summary>
    Decode = 16,

    /// <summary>Keeps KV blocks for all workers.</summary>
    Store = 32,
}
