using System.Text.Json.Serialization;
using Kimi.Mooncake.KvCache.Retention;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>What a store of one size would have found of a trace's prompts.</summary>
/// <param name="CapacityBlocks">Blocks that it holds; null without limit.</param>
/// <param name="Policy">In which order blocks go; null without limit.</param>
/// <param name="BlockHitPercent">Of the blocks of all prompts, those found as part of the prefix.</param>
/// <param name="TokenHitPercent">The same in tokens: the last block of a prompt may be short.</param>
/// <param name="WorkSavedPercent">The same in work, where a block's tokens cost more the more precede them.</param>
/// <param name="Evicted">Blocks that left for room.</param>
internal sealed record HitRate(
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] int? CapacityBlocks,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] EvictionPolicyKind? Policy,
    double BlockHitPercent,
    double TokenHitPercent,
    double WorkSavedPercent,
    long Evicted);
