namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>In which order blocks go when room is needed.</summary>
public enum EvictionPolicyKind
{
    /// <summary>The block that was not used for the longest time.</summary>
    Lru = 0,

    /// <summary>The block that was used least often, where old uses count less.</summary>
    Lfu = 1,

    /// <summary>The block whose loss is expected to cost the fewest tokens' recomputation.</summary>
    Cost = 2,
}
