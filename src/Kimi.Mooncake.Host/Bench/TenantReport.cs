namespace Kimi.Mooncake.Host.Bench;

/// <summary>What <c>mooncake bench tenants</c> found.</summary>
internal sealed record TenantReport
{
    /// <summary>Most points of its hit rate that a tenant may lose to another.</summary>
    public const double PointsLostMax = 2;

    private const double HitRateMin = 0.9;

    public required int Documents { get; init; }

    public required int DocumentTokens { get; init; }

    public required int Seed { get; init; }

    /// <summary>Quota of each of the two tenants in the store.</summary>
    public required long QuotaBytes { get; init; }

    /// <summary>What the store may fill.</summary>
    public required long StoreBytes { get; init; }

    /// <summary>KV that the second tenant had stored.</summary>
    public required long FloodBytes { get; init; }

    /// <summary>Times its quota.</summary>
    public required double FloodOverQuota { get; init; }

    /// <summary>Share of its documents' blocks that the first tenant found cached before the second wrote.</summary>
    public required double HitRateBefore { get; init; }

    /// <summary>The same afterwards.</summary>
    public required double HitRateAfter { get; init; }

    /// <summary>The difference in percentage points.</summary>
    public required double PointsLost { get; init; }

    /// <summary>What the two had of each other's cached prefixes.</summary>
    public required TenantIsolation Isolation { get; init; }

    /// <summary>What the gateway says that each tenant saved.</summary>
    public required IReadOnlyList<TenantSavings> Savings { get; init; }

    public bool IsFair => HitRateBefore >= HitRateMin && PointsLost <= PointsLostMax;

    public bool IsGood => Isolation.IsGood && IsFair;
}

/// <summary>One prompt, asked by a tenant that has it cached and by one that has not.</summary>
internal sealed record TenantIsolation
{
    public required int PromptTokens { get; init; }

    /// <summary>Cached tokens that the second was given: 0.</summary>
    public required int CachedTokens { get; init; }

    /// <summary>Tokens that the server computed for the second: all.</summary>
    public required long PrefillTokensComputed { get; init; }

    /// <summary>Time to first token of the second.</summary>
    public required double TtftS { get; init; }

    /// <summary>Cached tokens that the first was given.</summary>
    public required int OwnCachedTokens { get; init; }

    /// <summary>Time to first token of the first.</summary>
    public required double OwnTtftS { get; init; }

    /// <summary>Cached tokens that the second was given where both had chosen one shared namespace.</summary>
    public required int SharedNamespaceCachedTokens { get; init; }

    public bool IsGood => CachedTokens == 0 && PrefillTokensComputed == PromptTokens && OwnCachedTokens > 0
        && SharedNamespaceCachedTokens > 0;
}

/// <summary>What <c>/v1/savings</c> says of a tenant.</summary>
internal sealed record TenantSavings(
    string Tenant, long Requests, long PromptTokens, long CachedTokens, double PrefillSecondsSaved);
