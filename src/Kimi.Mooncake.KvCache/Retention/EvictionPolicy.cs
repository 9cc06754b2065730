namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>The built-in policies.</summary>
public static class EvictionPolicy
{
    /// <summary>
    /// Tokens before a block at which its own tokens cost twice as much to compute as those of a first block: n tokens
    /// take a layer of width d 4 n^2 d + 22 n d^2 operations, and d is 8192.
    /// </summary>
    public const int TokensOfTwiceTheCost = 22 * 8192 / (2 * 4);

    /// <summary>A policy for one index; policies age and are not shared.</summary>
    /// <param name="kind">Which.</param>
    /// <param name="blockTokens">Tokens of a block, from which follows how the cost of a block rises with its
    /// depth.</param>
    public static IEvictionPolicy Make(EvictionPolicyKind kind, int blockTokens) => kind switch
    {
        EvictionPolicyKind.Lru => new LruPolicy(),
        EvictionPolicyKind.Lfu => new LfuPolicy(),
        EvictionPolicyKind.Cost => new CostPolicy(blockTokens),
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "no such eviction policy"),
    };
}
