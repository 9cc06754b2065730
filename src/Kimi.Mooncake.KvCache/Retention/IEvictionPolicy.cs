namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>
/// The order in which blocks go. The index asks for a score whenever a block is added or used; of the blocks that may
/// go, the one with the lowest score goes. Pins, leases, quotas and prefixes are the index's affair, not the policy's.
/// </summary>
public interface IEvictionPolicy
{
    /// <summary>Scores are 0 to this, exclusive.</summary>
    const long ScoreEnd = 1L << 60;

    /// <summary>Bytes of managed memory that the policy takes for what it remembers.</summary>
    long MemoryBytes { get; }

    /// <summary>Score of a block at its use; never lower than the block's score before.</summary>
    long Score(in BlockUse use);

    /// <summary>Tells that a block was evicted for room, so that the policy can age and learn.</summary>
    /// <param name="block">The block; the sequence is that of the latest use of any block.</param>
    /// <param name="blocks">Blocks in the index, with this one.</param>
    void Evicted(in BlockUse block, int blocks);
}
