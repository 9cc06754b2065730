using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// Finds out, before a request is admitted, which of its blocks other processes have: the source that the conductor
/// named, whose blocks are worth pulling by its estimate, and store nodes, which are asked, all at once and no longer
/// than a fixed time.
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
            hints.Add(keys.AsSpan(here, fromSource - here), book[request.SourceAddress]);
        }

        var known = Math.Max(here, fromSource);
        if (known < keys.Length && book.Stores.Count > 0)
        {
            await AskStoresAsync(keys, known, own, cancellationToken).ConfigureAwait(false);
        }
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

    private async Task AskStoresAsync(
        BlockKey[] keys, int known, string own, CancellationToken cancellationToken)
    {
        var groups = Enumerable.Range(known, keys.Length - known)
            .GroupBy(index => book.StoreOf(keys[index]))
            .Where(group => group.Key is { } store && store.Address != own)
            .ToDictionary(group => group.Key!, group => group.ToArray());
        var answers = await Task.WhenAll(groups.Select(async group =>
            (Store: group.Key, Indices: group.Value,
                Has: await AskAsync(group.Key, Pick(keys, group.Value), cancellationToken).ConfigureAwait(false))))
            .ConfigureAwait(false);
        // The blocks of one prefix are spread over the store nodes: what counts ends at the first that one lacks.
        var end = answers.Min(answer => answer.Has < answer.Indices.Length ? answer.Indices[answer.Has] : keys.Length);
        var blockTokens = parts.Memory.Layout.BlockTokens;
        var computeSeconds = prefillSeconds(known * blockTokens, end * blockTokens);
        var useful = answers
            .Select(answer => (answer.Store, Keys: Pick(keys, [.. answer.Indices.Where(index => index < end)])))
            .Where(answer => answer.Keys.Length > 0)
            .ToArray();
        if (useful.All(answer => IsWorthPulling(answer.Store, answer.Keys.Length, computeSeconds)))
        {
            foreach (var (store, found) in useful)
            {
                hints.Add(found, store);
            }
        }
    }

    private bool IsWorthPulling(Peer store, int blocks, double computeSeconds) => PullRule.IsWorthPulling(
        (long)blocks * parts.Memory.Layout.BytesPerBlock, store.Rate.BytesPerSecond, computeSeconds);

    private Task<int> AskAsync(Peer store, BlockKey[] keys, CancellationToken cancellationToken) => calls.TryAsync(
        store,
        parts.Options.MatchTimeoutMs,
        limited => parts.Client.MatchAsync(store.Address, keys, limited),
        0,
        cancellationToken);

    private static BlockKey[] Pick(BlockKey[] keys, int[] indices) => Array.ConvertAll(indices, index => keys[index]);
}
