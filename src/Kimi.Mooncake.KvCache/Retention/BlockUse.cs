namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>What a policy knows about a block when it is added, used or evicted.</summary>
/// <param name="Sequence">Number of this use among all uses of all blocks; rises.</param>
/// <param name="Uses">How often the block was used since it was added; 0 when it is being added.</param>
/// <param name="Depth">Blocks before it in its prefix.</param>
/// <param name="KeyHash">64 bits of its key, by which a policy can know a block that was here before.</param>
/// <param name="Score">Its score until now; 0 when it is being added.</param>
public readonly record struct BlockUse(long Sequence, int Uses, int Depth, ulong KeyHash, long Score);
