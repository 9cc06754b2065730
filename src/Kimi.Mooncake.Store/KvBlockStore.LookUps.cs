using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <content>Looking up.</content>
public sealed partial class KvBlockStore
{
    // Keys looked up under the lock at a time, so that nobody else waits long.
    private const int LookUpStep = 1024;

    /// <summary>Whether a block is stored. It may still turn out damaged, or be dropped, before it is read.</summary>
    public bool Contains(BlockKey key)
    {
        lock (_catalog.Gate)
        {
            return _catalog.Find(key) >= 0;
        }
    }

    /// <summary>Which of many blocks are stored; as <see cref="Contains(BlockKey)"/> for each.</summary>
    /// <param name="keys">Any keys.</param>
    /// <param name="found">One answer for each key.</param>
    /// <exception cref="ArgumentException">There is not one answer for each key.</exception>
    public void Contains(ReadOnlySpan<BlockKey> keys, Span<bool> found)
    {
        if (keys.Length != found.Length)
        {
            throw new ArgumentException($"{keys.Length} keys need as many answers, not {found.Length}", nameof(found));
        }

        Span<int> ids = stackalloc int[LookUpStep];
        for (var at = 0; at < keys.Length; at += LookUpStep)
        {
            var part = keys.Slice(at, Math.Min(LookUpStep, keys.Length - at));
            lock (_catalog.Gate)
            {
                _catalog.Index.FindAll(part, ids[..part.Length], _catalog.NowMs);
            }

            for (var i = 0; i < part.Length; i++)
            {
                found[at + i] = ids[i] >= 0;
            }
        }
    }

    /// <summary>How many of the first keys are stored, without a gap. In memory, without side effect.</summary>
    public int CountStored(ReadOnlySpan<BlockKey> keys)
    {
        var count = 0;
        while (count < keys.Length)
        {
            var part = keys.Slice(count, Math.Min(LookUpStep, keys.Length - count));
            int found;
            lock (_catalog.Gate)
            {
                found = _catalog.Index.FindPrefix(part, _catalog.NowMs);
            }

            count += found;
            if (found < part.Length)
            {
                break;
            }
        }

        return count;
    }
}
