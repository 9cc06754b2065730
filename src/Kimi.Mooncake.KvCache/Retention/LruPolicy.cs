namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>Least recently used: the score is the number of the use.</summary>
internal sealed class LruPolicy : IEvictionPolicy
{
    public long Score(in BlockUse use) => use.Sequence;

    public void Evicted(long score)
    {
        // Recency ages by itself.
    }
}
