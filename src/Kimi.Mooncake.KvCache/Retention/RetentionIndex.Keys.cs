using System.Numerics;
using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.KvCache.Retention;

/// <content>
/// Keys to entries: linear hashing, which grows by one bucket at a time, so that no add pays for all. Buckets hold
/// the id of their first entry and one, 0 when they are empty.
/// </content>
public sealed partial class RetentionIndex<TData>
{
    private const int Batch = 128;

    private readonly ChunkedArray<int> _buckets = new();
    private int _bucketCount;
    private int _linked;

    /// <summary>The block with this key that has not expired, or <see cref="None"/>. Renews nothing.</summary>
    public int Find(in BlockKey key, long nowMs)
    {
        var id = FindEntry(key);
        return id != None && _entries[id].IsBlock && _entries[id].ExpiresMs > nowMs ? id : None;
    }

    /// <summary>
    /// The block with this key, expired or not, or <see cref="None"/>: what must leave before the key is added.
    /// </summary>
    public int FindAny(in BlockKey key)
    {
        var id = FindEntry(key);
        return id != None && _entries[id].IsBlock ? id : None;
    }

    /// <summary>How many leading keys are found.</summary>
    public int FindPrefix(ReadOnlySpan<BlockKey> keys, long nowMs)
    {
        Span<int> ids = stackalloc int[Batch];
        for (var start = 0; start < keys.Length; start += Batch)
        {
            var batch = keys.Slice(start, Math.Min(Batch, keys.Length - start));
            FindBatch(batch, ids, nowMs);
            var missing = ids[..batch.Length].IndexOf(None);
            if (missing >= 0)
            {
                return start + missing;
            }
        }

        return keys.Length;
    }

    /// <summary>Finds each key.</summary>
    /// <param name="keys">Keys, in any order.</param>
    /// <param name="ids">As long as the keys; for each what <see cref="Find"/> gives.</param>
    /// <param name="nowMs">The time.</param>
    public void FindAll(ReadOnlySpan<BlockKey> keys, Span<int> ids, long nowMs)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(ids.Length, keys.Length);
        for (var start = 0; start < keys.Length; start += Batch)
        {
            var batch = keys.Slice(start, Math.Min(Batch, keys.Length - start));
            FindBatch(batch, ids.Slice(start, batch.Length), nowMs);
        }
    }

    // Entry by entry for all keys at once: what one key loads does not wait for another's, so that the processor has
    // many cache misses in flight.
    private void FindBatch(ReadOnlySpan<BlockKey> keys, Span<int> ids, long nowMs)
    {
        var open = _linked == 0 ? 0 : keys.Length;
        Span<byte> unsettled = stackalloc byte[Batch];
        for (var i = 0; i < keys.Length; i++)
        {
            ids[i] = open == 0 ? None : _buckets[BucketOf(keys[i])] - 1;
            unsettled[i] = (byte)i;
        }

        while (open > 0)
        {
            for (var i = 0; i < open; i++)
            {
                _ = Volatile.Read(ref _entries[Math.Max(ids[unsettled[i]], 0)].ExpiresMs);
            }

            var left = 0;
            for (var i = 0; i < open; i++)
            {
                var at = unsettled[i];
                if (ids[at] == None)
                {
                    continue;
                }

                ref var entry = ref _entries[ids[at]];
                if (entry.Key != keys[at])
                {
                    ids[at] = entry.NextInBucket;
                    unsettled[left++] = at;
                }
                else if (!entry.IsBlock || entry.ExpiresMs <= nowMs)
                {
                    ids[at] = None;
                }
            }

            open = left;
        }
    }

    /// <summary>64 bits of a key, spread over all of them.</summary>
    internal static ulong HashOf(in BlockKey key) =>
        MemoryMarshal.Cast<BlockKey, ulong>(MemoryMarshal.CreateReadOnlySpan(in key, 1))[0] * 0x9E3779B97F4A7C15;

    private int BucketOf(in BlockKey key) => BucketOf(HashOf(key), _bucketCount);

    private static int BucketOf(ulong hash, int buckets)
    {
        var mask = (int)(BitOperations.RoundUpToPowerOf2((uint)buckets) - 1);
        var bucket = (int)(hash >> 33) & mask;
        return bucket < buckets ? bucket : bucket & (mask >> 1);
    }

    private int FindEntry(in BlockKey key)
    {
        if (_linked == 0)
        {
            return None;
        }

        var id = _buckets[BucketOf(key)] - 1;
        while (id != None && _entries[id].Key != key)
        {
            id = _entries[id].NextInBucket;
        }

        return id;
    }

    private void Link(int id)
    {
        if (_linked++ >= _bucketCount)
        {
            AddBucket();
        }

        ref var entry = ref _entries[id];
        ref var bucket = ref _buckets[BucketOf(entry.Key)];
        entry.NextInBucket = bucket - 1;
        bucket = id + 1;
    }

    private void Unlink(int id)
    {
        ref var entry = ref _entries[id];
        ref var bucket = ref _buckets[BucketOf(entry.Key)];
        if (bucket - 1 == id)
        {
            bucket = entry.NextInBucket + 1;
        }
        else
        {
            var before = bucket - 1;
            while (_entries[before].NextInBucket != id)
            {
                before = _entries[before].NextInBucket;
            }

            _entries[before].NextInBucket = entry.NextInBucket;
        }

        _linked--;
    }

    private void AddBucket()
    {
        _buckets.Grow(_bucketCount + 1);
        var added = _bucketCount++;
        if (added == 0)
        {
            return;
        }

        var split = added & (int)((BitOperations.RoundUpToPowerOf2((uint)_bucketCount) - 1) >> 1);
        var id = _buckets[split] - 1;
        _buckets[split] = 0;
        while (id != None)
        {
            ref var entry = ref _entries[id];
            var next = entry.NextInBucket;
            ref var bucket = ref _buckets[BucketOf(entry.Key)];
            entry.NextInBucket = bucket - 1;
            bucket = id + 1;
            id = next;
        }
    }
}
