namespace Kimi.Mooncake.Worker.Peers;

/// <summary>Blocks on their way to store nodes.</summary>
internal sealed class PeerPuts(PeerParts parts, PeerCalls calls) : IAsyncDisposable
{
    private readonly BoundedTasks _tasks = new(parts.Options.PutsMax);

    /// <summary>Whether so many puts may be begun.</summary>
    public bool HasRoomFor(int puts) => _tasks.HasRoomFor(puts);

    /// <summary>Begins a put; false when as many run as may.</summary>
    /// <param name="store">The store node.</param>
    /// <param name="blocks">The blocks, which stay as they are until <paramref name="done"/>.</param>
    /// <param name="done">Told whether the store node has all of them now; nothing reads the blocks any more.</param>
    public bool TryBegin(Peer store, PutBlocks blocks, Action<bool> done) =>
        _tasks.TryRun(async cancellation =>
        {
            var isStored = false;
            try
            {
                isStored = await PutAsync(store, blocks, cancellation).ConfigureAwait(false);
            }
            finally
            {
                done(isStored);
            }
        });

    /// <inheritdoc />
    public ValueTask DisposeAsync() => _tasks.DisposeAsync();

    private async Task<bool> PutAsync(Peer store, PutBlocks blocks, CancellationToken cancellation)
    {
        try
        {
            var outcome = await calls.TryAsync(
                store,
                parts.Options.PutTimeoutMs,
                limited => parts.Client.PutAsync(store.Address, blocks, limited),
                new PutOutcome(0, 0, Left: blocks.Keys.Length),
                cancellation).ConfigureAwait(false);
            parts.Traffic.AddPut(outcome.Stored, (long)outcome.Stored * blocks.BlockBytes);
            if (outcome.Wanted > outcome.Stored)
            {
                parts.Traffic.AddFailure(PeerFailure.Refused);
            }

            return outcome.IsWhole;
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            return false;
        }
    }
}
