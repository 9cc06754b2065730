using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster.Contexts;

/// <summary>Where contexts are kept, and how many.</summary>
public sealed record ContextCatalogOptions
{
    /// <summary>Folder of the journal.</summary>
    [Setting("Folder in which the process with the conductor, or the single process, keeps the contexts that users " +
        "create; empty takes one beside the store's, and without a store keeps none.")]
    public string Directory { get; init; } = "";

    /// <summary>Most contexts.</summary>
    [Setting("Most contexts of all tenants, expired ones included", Unit = "contexts", Min = 1, Max = 10_000_000)]
    public int ContextsMax { get; init; } = 100_000;

    /// <summary>Most contexts of one tenant.</summary>
    [Setting("Most contexts of one tenant, expired ones included", Unit = "contexts", Min = 1, Max = 10_000_000)]
    public int TenantContextsMax { get; init; } = 1_000;

    /// <summary>Most bytes of all contexts' texts; they are in memory too.</summary>
    [Setting("Most bytes of all contexts' texts; they are in memory too", Unit = "bytes", Min = 1 << 16)]
    public long BytesMax { get; init; } = 1L << 30;

    /// <summary>Most bytes of one tenant's texts.</summary>
    [Setting("Most bytes of one tenant's texts", Unit = "bytes", Min = 1 << 16)]
    public long TenantBytesMax { get; init; } = 256L << 20;

    /// <summary>Most bytes of one context's texts.</summary>
    [Setting("Most bytes of one context's texts; in a cluster no more than fit into a message between processes",
        Unit = "bytes", Min = 1 << 10, Max = 256 << 20)]
    public int ContextBytesMax { get; init; } = 8 << 20;

    /// <summary>Most tags of one tenant.</summary>
    [Setting("Most tags of one tenant", Unit = "tags", Min = 1, Max = 10_000_000)]
    public int TenantTagsMax { get; init; } = 1_000;

    /// <summary>How long an expired context is still known, and can be enabled again.</summary>
    [Setting("How long an expired context is still known and can be enabled again",
        Unit = "s", Min = 0, Max = 315_360_000)]
    public int InactiveSeconds { get; init; } = 7 * 24 * 3600;

    /// <summary>Least bytes of superseded records that make the journal be written anew.</summary>
    [Setting("Least bytes of superseded records that make the journal be written anew", Unit = "bytes", Min = 1 << 10)]
    public long CompactBytesMin { get; init; } = 4 << 20;
}
