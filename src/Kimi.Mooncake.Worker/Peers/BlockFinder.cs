using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;
using Kimi.Mooncake.KvCache.Placement;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// Finds out, before a request is admitted, which of its blocks other processes have: the source that the conductor
/// named, whose blocks are worth pulling by its estimate, and the store nodes on which its groups are placed, which are
/// asked no longer than a fixed time.
/// </summary>
internal sealed class BlockFinder(
    PeerParts parts, PeerCalls calls, PeerBook book, BlockHints hints, Func<int, int, double> prefillSeconds)
{
    /// <summary>Leaves hints for the blocks of a request that this process lacks.</summary>
    /// <param name="request">The request.</param>
    /// <param name="countHere">How many of the first keys this process has itself.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task FindAsync(
        GenerationRequest request, Func<ReadOnlyMemory<BlockKey>, int> countHere, CancellationToken cancellationToken)
    {
        var own = parts.OwnAddress();
        var fromSource = request.SourceAddress.Length > 0 && request.SourceAddress != own ? request.SourceBlocks : 0;
        if (own.Length == 0 || (fromSource == 0 && book.Stores.Count == 0))
        {
            return;
        }

        var keys = KeysOf(request);
        fromSource = Math.Min(fromSource, keys.Length);
        var here = keys.Length == 0 ? 0 : countHere(keys);
        if (fromSource > here)
        {
            AddSource(keys, here, fromSource, book[request.SourceAddress]);
        }

        var known = Math.Max(here, fromSource);
        if (known < keys.Length && book.Stores.Count > 0)
        {
            await AskStoresAsync(keys, known, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// The source that the conductor named, and for each group the store nodes that may stand in for it.
    /// </summary>
    private void AddSource(BlockKey[] keys, int from, int to, Peer source)
    {
        for (int first = from, end; first < to; first = end)
        {
            end = Math.Min(to, PlacementGroup.EndOf(first));
            hints.Add(
                keys.AsSpan(first, end - first),
                [source, .. Replicas(keys, first).Where(peer => peer != source)]);
        }
    }

    /// <summary>The store nodes that may have a block, in the order in which to ask them.</summary>
    private Peer[] Replicas(BlockKey[] keys, int index)
    {
        var placed = book.ReplicasOf(keys[PlacementGroup.FirstOf(index)], parts.ReadReplicas);
        var own = parts.OwnAddress();
        return ReplicaChoice.Order(Array.FindAll(placed, peer => peer.Address != own), parts.Options);
    }

    /// <summary>Keys of the blocks that can be loaded: at least the last token of a prompt is computed.</summary>
    private BlockKey[] KeysOf(GenerationRequest request)
    {
        var layout = parts.Memory.Layout;
        var blocks = (request.PromptTokens.Count - 1) / layout.BlockTokens;
        var chain = new BlockKeyChain(
            BlockKeyChain.Root(parts.Fingerprint, layout, request.CacheSalt), layout.BlockTokens);
        chain.Extend([.. request.PromptTokens.Take(blocks * layout.BlockTokens)]);
        return chain.Keys.ToArray();
    }

    private async Task AskStoresAsync(BlockKey[] keys, int known, CancellationToken cancellationToken)
    {
        var groups = new List<GroupQuery>();
        for (int first = known, end; first < keys.Length; first = end)
        {
            end = Math.Min(keys.Length, PlacementGroup.EndOf(first));
            groups.Add(new GroupQuery(first, keys.AsMemory(first, end - first), Replicas(keys, first)));
        }

        await new ReplicaQuery(parts, calls).AskAsync(groups, cancellationToken).ConfigureAwait(false);
        // Groups lie on different nodes: what counts ends at the first block that is missing.
        var broken = groups.FindIndex(static group => !group.IsComplete);
        var useful = (broken < 0 ? groups : groups.Take(broken + 1)).Where(static group => group.Blocks > 0).ToArray();
        var found = useful.Sum(static group => group.Blocks);
        var blockTokens = parts.Memory.Layout.BlockTokens;
        var computeSeconds = prefillSeconds(known * blockTokens, (known + found) * blockTokens);
        if (useful.GroupBy(static group => group.Holder!).All(
            one => IsWorthPulling(one.Key, one.Sum(static group => group.Blocks), computeSeconds)))
        {
            foreach (var group in useful)
            {
                hints.Add(group.Keys.Span[..group.Blocks], group.Sources);
            }
        }
    }

    private bool IsWorthPulling(Peer store, int blocks, double computeSeconds) => PullRule.IsWorthPulling(
        (long)blocks * parts.Memory.Layout.BytesPerBlock, store.Rate.BytesPerSecond, computeSeconds);
}
