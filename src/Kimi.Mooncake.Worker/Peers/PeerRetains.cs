using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>Calls that have store nodes keep blocks longer. Nobody waits for them.</summary>
internal sealed class PeerRetains(PeerParts parts, PeerCalls calls) : IAsyncDisposable
{
    private readonly BoundedTasks _tasks = new(parts.Options.RetainsMax);

    /// <summary>Begins a call; where as many run as may, the blocks are counted as skipped.</summary>
    /// <param name="store">The store node.</param>
    /// <param name="keys">Keys of the blocks.</param>
    /// <param name="retention">How long they are kept.</param>
    public void Begin(Peer store, BlockKey[] keys, BlockRetention retention)
    {
        if (!_tasks.TryRun(cancellation => RetainAsync(store, keys, retention, cancellation)))
        {
            parts.Traffic.AddRetainSkipped(keys.Length);
        }
    }

    /// <inheritdoc />
    public ValueTask DisposeAsync() => _tasks.DisposeAsync();

    private async Task RetainAsync(
        Peer store, BlockKey[] keys, BlockRetention retention, CancellationToken cancellation)
    {
        try
        {
            var retained = await calls.TryAsync(
                store,
                parts.Options.PutTimeoutMs,
                limited => parts.Client.RetainAsync(store.Address, keys, retention, limited),
                otherwise: -1,
                cancellation).ConfigureAwait(false);
            if (retained < 0)
            {
                parts.Traffic.AddRetainSkipped(keys.Length);
            }
            else
            {
                parts.Traffic.AddRetained(retained);
            }
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            parts.Traffic.AddRetainSkipped(keys.Length);
        }
    }
}
