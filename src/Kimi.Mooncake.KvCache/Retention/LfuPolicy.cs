namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>
/// Least frequently used with dynamic aging: the score is the number of uses on top of the score that was evicted last,
/// so that what was popular long ago does not stay for ever. Among equals the least recently used goes.
/// </summary>
internal sealed class LfuPolicy : IEvictionPolicy
{
    private const int SequenceBits = 36;

    private long _age;

    public long MemoryBytes => 0;

    public long Score(in BlockUse use) =>
        Math.Max(
            use.Score,
            (Math.Min(_age + use.Uses + 1, (IEvictionPolicy.ScoreEnd >> SequenceBits) - 1) << SequenceBits) |
            (use.Sequence & ((1L << SequenceBits) - 1)));

    public void Evicted(in BlockUse block, int blocks) => _age = Math.Max(_age, block.Score >> SequenceBits);
}
