using Kimi.Mooncake.Core;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Transfer;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>What a pull takes blocks from.</summary>
/// <param name="Pool">Published blocks of a pool; null for a process without one.</param>
/// <param name="Store">Stored blocks; null for a process without a store.</param>
/// <param name="Staging">Memory for blocks of the store; null without one.</param>
/// <param name="BlockBytes">Bytes of a block.</param>
/// <param name="BatchBlocks">Blocks read from the store while those before them travel.</param>
internal sealed record BlockSources(
    IPublishedBlocks? Pool, KvBlockStore? Store, StagingBlocks? Staging, int BlockBytes, int BatchBlocks);

/// <summary>
/// One pull that is being served: sends the blocks of a run of keys, from the pool or, where that lacks one, from the
/// store, of which the next ones are read while those before travel. Ends at the first key that neither has.
/// </summary>
internal sealed class PullSender(
    BlockSources sources, ReadOnlyMemory<BlockKey> keys, int firstSlot, BlockTraffic traffic)
{
    private Batch? _travelling;
    private int _enqueued;

    private sealed record Batch(int[] BlockIds, bool FromPool);

    /// <summary>Sends what is there.</summary>
    /// <param name="begin">Opens the transfer when there is something to send.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>Leading blocks that were sent and acknowledged.</returns>
    /// <exception cref="TransferException">The receiver does not take it.</exception>
    public async Task<int> SendAsync(
        Func<CancellationToken, ValueTask<TransferSession>> begin, CancellationToken cancellationToken)
    {
        var next = await TakeAsync(cancellationToken).ConfigureAwait(false);
        if (next is null)
        {
            return 0;
        }

        TransferSession? session = null;
        try
        {
            session = await begin(cancellationToken).ConfigureAwait(false);
            while (next is not null)
            {
                Enqueue(session, next);
                (_travelling, next) = (next, null);
                var flushed = session.FlushAsync(cancellationToken);
                next = await ReadAheadAsync().ConfigureAwait(false);
                await flushed.ConfigureAwait(false);
                Return(_travelling);
                _travelling = null;
                next ??= await TakeAsync(cancellationToken).ConfigureAwait(false);
            }

            return _enqueued;
        }
        finally
        {
            if (session is not null)
            {
                await session.DisposeAsync().ConfigureAwait(false);
            }

            Release(_travelling);
            Release(next);
        }
    }

    private void Enqueue(TransferSession session, Batch batch)
    {
        foreach (var id in batch.BlockIds)
        {
            var address = batch.FromPool ? sources.Pool!.AddressOf(id) : sources.Staging!.AddressOf(id);
            if (!BlockFrames.TryEnqueue(session, address, sources.BlockBytes, firstSlot + _enqueued))
            {
                // The flush says why.
                return;
            }

            _enqueued++;
        }
    }

    private void Return(Batch batch)
    {
        traffic.AddSent(batch.BlockIds.Length, (long)batch.BlockIds.Length * sources.BlockBytes, batch.FromPool);
        Release(batch);
    }

    private void Release(Batch? batch)
    {
        if (batch is { FromPool: true })
        {
            sources.Pool!.Release(batch.BlockIds);
        }
        else if (batch is not null)
        {
            sources.Staging!.Give(batch.BlockIds);
        }
    }

    /// <summary>The next blocks; null when neither pool nor store has the next key.</summary>
    private async ValueTask<Batch?> TakeAsync(CancellationToken cancellationToken)
    {
        var rest = keys[_enqueued..];
        if (rest.IsEmpty)
        {
            return null;
        }

        if (sources.Pool is { } pool && await pool.HoldAsync(rest).ConfigureAwait(false) is { Length: > 0 } held)
        {
            return new Batch(held, FromPool: true);
        }

        if (sources.Store is not { } store || !store.Contains(rest.Span[0]))
        {
            return null;
        }

        var slots = await sources.Staging!.TakeAsync(Wanted(store, rest), cancellationToken).ConfigureAwait(false);
        return Read(store, rest, slots);
    }

    /// <summary>More of the store, if memory is free, while others travel; null when not.</summary>
    private async ValueTask<Batch?> ReadAheadAsync()
    {
        var rest = keys[_enqueued..];
        if (_travelling is not { FromPool: false } || rest.IsEmpty)
        {
            return null;
        }

        var store = sources.Store!;
        var slots = sources.Staging!.Take(Wanted(store, rest));
        return slots.Length == 0 ? null : await Task.Run(() => Read(store, rest, slots)).ConfigureAwait(false);
    }

    private int Wanted(KvBlockStore store, ReadOnlyMemory<BlockKey> rest) =>
        store.CountStored(rest.Span[..Math.Min(rest.Length, sources.BatchBlocks)]);

    private Batch? Read(KvBlockStore store, ReadOnlyMemory<BlockKey> rest, int[] slots)
    {
        var read = 0;
        try
        {
            while (read < slots.Length && store.TryGet(rest.Span[read], sources.Staging![slots[read]]))
            {
                read++;
            }
        }
        finally
        {
            sources.Staging!.Give(slots.AsSpan(read));
        }

        return read == 0 ? null : new Batch(slots[..read], FromPool: false);
    }
}
