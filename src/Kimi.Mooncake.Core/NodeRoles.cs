namespace Kimi.Mooncake.Core;

/// <summary>What a node does for the cluster; a process may have several roles.</summary>
[Flags]
public enum NodeRoles
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>Computes prompts.</summary>
    Prefill = 1,

    /// <summary>Generates tokens.</summary>
    Decode = 2,

    /// <summary>Keeps blocks for all.</summary>
    Store = 4,
}
