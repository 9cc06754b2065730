namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>The built-in policies.</summary>
public static class EvictionPolicy
{
    /// <summary>A policy for one index; policies age and are not shared.</summary>
    public static IEvictionPolicy Make(EvictionPolicyKind kind) => kind switch
    {
        EvictionPolicyKind.Lru => new LruPolicy(),
        EvictionPolicyKind.Lfu => new LfuPolicy(),
        EvictionPolicyKind.Cost => new CostPolicy(),
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "no such eviction policy"),
    };
}
