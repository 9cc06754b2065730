namespace Kimi.Mooncake.KvCache.Retention;

/// <summary>Least recently used: the score is the number of the use.</summary>
internal sealed class LruPolicy : IEvictionPolicy
{
    public long MemoryBytes => 0;

    public long Score(in BlockUse use) => use.Sequence;

    public void Evicted(in BlockUse block, int blocks)
    {
        // Recency ages by itself.
    }
}
