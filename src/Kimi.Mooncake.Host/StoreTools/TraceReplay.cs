using System.Buffers.Binary;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache.Retention;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>
/// Sends a trace's requests one after another to a store's books: what is found of a prompt's prefix counts as used,
/// the rest is stored, and what has no room goes as <see cref="RetentionIndex{TData}"/> says.
/// </summary>
internal sealed class TraceReplay(IReadOnlyList<TraceRequest> requests, int blockTokens)
{
    // Bytes do not matter where all blocks are of one size.
    private const int BlockBytes = 1;

    /// <summary>Replays the trace.</summary>
    /// <param name="policy">In which order blocks go; null with a store without limit.</param>
    /// <param name="capacityBlocks">Blocks that the store holds; null without limit.</param>
    /// <param name="cancellationToken">Ends the replay.</param>
    public HitRate Run(EvictionPolicyKind? policy, int? capacityBlocks, CancellationToken cancellationToken)
    {
        var index = new RetentionIndex<byte>(new RetentionOptions
        {
            Policy = policy ?? EvictionPolicyKind.Lru,
            CapacityBytes = (long)(capacityBlocks ?? int.MaxValue) * BlockBytes,
            BlockTokens = blockTokens,
        });
        var tenant = index.Tenant("");
        var (blocks, found) = (new Sums(), new Sums());
        var evicted = 0L;
        foreach (var request in requests)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var keys = request.Blocks.Select(KeyOf).ToArray();
            var prefix = index.FindPrefix(keys, request.TimestampMs);
            for (var i = 0; i < keys.Length; i++)
            {
                var tokens = (int)Math.Min(blockTokens, request.InputTokens - ((long)i * blockTokens));
                var work = tokens * (1 + ((double)i * blockTokens / EvictionPolicy.TokensOfTwiceTheCost));
                blocks.Add(tokens, work);
                if (i < prefix)
                {
                    found.Add(tokens, work);
                }

                evicted += Store(index, keys, i, tenant, capacityBlocks ?? int.MaxValue, request.TimestampMs);
            }
        }

        return new HitRate(
            capacityBlocks,
            policy,
            Percent(found.Blocks, blocks.Blocks),
            Percent(found.Tokens, blocks.Tokens),
            Percent(found.Work, blocks.Work),
            evicted);
    }

    private static int Store(RetentionIndex<byte> index, BlockKey[] keys, int i, int tenant, int capacity, long nowMs)
    {
        var id = index.FindAny(keys[i]);
        if (id != RetentionIndex<byte>.None)
        {
            index.Use(id, nowMs);
            return 0;
        }

        var evicted = 0;
        while (index.Count >= capacity && index.TryPickVictim(nowMs, out var victim))
        {
            index.Evict(victim);
            evicted++;
        }

        index.Add(keys[i], i == 0 ? default : keys[i - 1], BlockBytes, tenant, default, nowMs);
        return evicted;
    }

    private static double Percent(double part, double whole) => whole > 0 ? 100 * part / whole : 0;

    // A number is the identity of a block and its prefix, as a key is; keys are spread evenly.
    private static BlockKey KeyOf(long block)
    {
        Span<byte> bytes = stackalloc byte[BlockKey.SizeBytes];
        BinaryPrimitives.WriteInt64BigEndian(bytes, unchecked((block + 1) * (long)0x9E3779B97F4A7C15));
        BinaryPrimitives.WriteInt64BigEndian(bytes[sizeof(long)..], block);
        return new BlockKey(bytes);
    }

    private sealed class Sums
    {
        public long Blocks { get; private set; }

        public long Tokens { get; private set; }

        public double Work { get; private set; }

        public void Add(int tokens, double work)
        {
            Blocks++;
            Tokens += tokens;
            Work += work;
        }
    }
}
