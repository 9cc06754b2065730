namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>
/// Cost-aware: recency, and for blocks that have proved their use a bonus for what they save, tokens times uses times
/// depth. The score is
/// <code>sequence + weight * residence * log2((1 + uses) * cost(depth))</code>
/// where the last term is 0 for a block that was never used again: about it nothing is known but when it came.
/// </summary>
/// <remarks>
/// Residence is how many uses of others an unused block outlasts at present, so a doubling of what a block
/// saves is worth a fixed part of the time that blocks stay anyway, at any capacity.
/// <para>cost(depth) is the work to compute a block's tokens again relative to that of a first block. It is linear:
/// attention reads everything before. It doubles at <see cref="EvictionPolicy.TokensOfTwiceTheCost"/>.</para>
/// <para>The weight is learned as in ARC (Megiddo, Modha 2003), from blocks that come back after they were evicted: one
/// that had been used shows that used blocks went too early, one that had not been used shows that new blocks did.
/// A step is as large as the other kind is more frequent among the evicted, and a capacity's worth of evidence
/// moves the weight from end to end. A weight of 0 is LRU, where frequency says nothing.</para>
/// </remarks>
internal sealed class CostPolicy : IEvictionPolicy
{
    private const double StartWeight = 0.25;
    private const double WeightMax = 1;
    private const double StepsPerCapacity = 4;
    private const int RecentEvictionsMin = 16;

    private readonly EvictionHistory _history = new();
    private readonly double _costPerBlock;
    private double _residence;
    private double _evictedUnused = 1;
    private double _evictedUsed = 1;
    private int _blocks = 1;

    public CostPolicy(int blockTokens) => _costPerBlock = (double)blockTokens / EvictionPolicy.TokensOfTwiceTheCost;

    /// <summary>What a doubling of a block's savings is worth, in residences.</summary>
    public double Weight { get; private set; } = StartWeight;

    public long MemoryBytes => _history.MemoryBytes;

    public long Score(in BlockUse use)
    {
        if (use.Uses == 0)
        {
            Learn(use);
            return use.Sequence;
        }

        var saved = (1 + use.Uses) * (1 + (use.Depth * _costPerBlock));
        return Math.Max(use.Score, use.Sequence + (long)(Weight * _residence * Math.Log2(saved)));
    }

    public void Evicted(in BlockUse block, int blocks)
    {
        _blocks = blocks;
        var fade = 1 - (1.0 / blocks);
        _evictedUnused *= fade;
        _evictedUsed *= fade;
        if (block.Uses > 0)
        {
            _evictedUsed++;
        }
        else
        {
            _evictedUnused++;
            // An unused block's score is when it came.
            var stayed = block.Sequence - block.Score;
            _residence += (stayed - _residence) / Math.Max(blocks / 4, RecentEvictionsMin);
        }

        _history.Add(block, blocks);
    }

    private void Learn(in BlockUse added)
    {
        if (!_history.TryTake(added, (long)_residence, out var wasUsed))
        {
            return;
        }

        var step = StepsPerCapacity / _blocks;
        Weight = Math.Clamp(
            wasUsed
                ? Weight + (step * Math.Max(1, _evictedUnused / _evictedUsed))
                : Weight - (step * Math.Max(1, _evictedUsed / _evictedUnused)),
            0,
            WeightMax);
    }
}
