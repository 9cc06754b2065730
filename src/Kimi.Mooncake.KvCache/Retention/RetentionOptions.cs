namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>How a <see cref="RetentionIndex{TData}"/> shares its room.</summary>
public sealed record RetentionOptions
{
    /// <summary>The order in which blocks go.</summary>
    public EvictionPolicyKind Policy { get; init; } = EvictionPolicyKind.Lru;

    /// <summary>Room that the tenants share, in bytes; what each may claim as its fair share follows from it.</summary>
    public long CapacityBytes { get; init; } = 1L << 40;

    /// <summary>Tokens of a block: how much a block costs to compute again rises with the tokens before it.</summary>
    public int BlockTokens { get; init; } = 64;

    /// <summary>
    /// Time after which a tenant that neither stores nor reads no longer has a claim to its share: its blocks go before
    /// those of others. In milliseconds.
    /// </summary>
    public long TenantIdleMs { get; init; } = 3_600_000;

    /// <summary>Quota of tenants that were given none of their own, in bytes; 0: a fair share.</summary>
    public long TenantQuotaBytes { get; init; }
}
