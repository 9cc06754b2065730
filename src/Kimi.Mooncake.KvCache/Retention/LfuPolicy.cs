namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>
/// Least frequently used with dynamic aging: the score is the number of uses on top of the score that was evicted
/// last, so that what was popular long ago does not stay for ever. Among equals the least recently used goes.
/// </summary>
internal sealed class LfuPolicy : IEvictionPolicy
{
    private const int SequenceBits = 36;

    private long _age;

    public long Score(in BlockUse use) =>
        Math.Max(
            use.Score,
            (Math.Min(_age + use.Uses, (IEvictionPolicy.ScoreEnd >> SequenceBits) - 1) << SequenceBits) |
            (use.Sequence & ((1L << SequenceBits) - 1)));

    public void Evicted(long score) => _age = Math.Max(_age, score >> SequenceBits);
}
