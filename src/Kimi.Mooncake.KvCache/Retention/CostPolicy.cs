namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>
/// Greedy dual: what a block saves, tokens times uses times depth, on top of the score that was evicted last. A
/// block at depth d saves the recomputation of its tokens, of which attention's part grows with d.
/// </summary>
internal sealed class CostPolicy : IEvictionPolicy
{
    private const int SequenceBits = 36;
    private const double DepthOfTwiceTheCost = 256;

    private double _age;

    public long Score(in BlockUse use)
    {
        var saved = (use.Uses + 1) * (1 + (use.Depth / DepthOfTwiceTheCost));
        var score = (long)Math.Min(_age + saved, (IEvictionPolicy.ScoreEnd >> SequenceBits) - 1) << SequenceBits;
        return Math.Max(use.Score, score | (use.Sequence & ((1L << SequenceBits) - 1)));
    }

    public void Evicted(long score) => _age = Math.Max(_age, score >> SequenceBits);
}
