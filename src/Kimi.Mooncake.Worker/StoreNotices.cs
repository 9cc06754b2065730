using System.Collections.Concurrent;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Worker;

/// <summary>
/// What a store is told of blocks that do not move: that they are to be kept longer, or were used. On a thread of its
/// own, so that whoever tells never waits for the store.
/// </summary>
internal sealed class StoreNotices : IDisposable
{
    private readonly KvBlockStore _store;
    private readonly BlockingCollection<Notice> _waiting;
    private readonly Thread _thread;
    private long _dropped;

    /// <param name="store">The store; outlives this.</param>
    /// <param name="waitingMax">Most notices that wait; one more is dropped.</param>
    public StoreNotices(KvBlockStore store, int waitingMax)
    {
        _store = store;
        _waiting = new BlockingCollection<Notice>(waitingMax);
        _thread = new Thread(Run) { IsBackground = true, Name = "kv notices" };
        _thread.Start();
    }

    private sealed record Notice(BlockKey[] Keys, BlockRetention? Retention);

    /// <summary>Notices dropped because too many waited.</summary>
    public long Dropped => Interlocked.Read(ref _dropped);

    public void Retain(ReadOnlySpan<BlockKey> keys, BlockRetention retention) => Add(keys, retention);

    public void Touch(ReadOnlySpan<BlockKey> keys) => Add(keys, null);

    /// <summary>Takes no more, passes on what waits and ends the thread.</summary>
    public void Dispose()
    {
        if (_waiting.IsAddingCompleted)
        {
            return;
        }

        _waiting.CompleteAdding();
        _thread.Join();
        _waiting.Dispose();
    }

    private void Add(ReadOnlySpan<BlockKey> keys, BlockRetention? retention)
    {
        if (!keys.IsEmpty && !_waiting.TryAdd(new Notice(keys.ToArray(), retention)))
        {
            Interlocked.Increment(ref _dropped);
        }
    }

    private void Run()
    {
        foreach (var notice in _waiting.GetConsumingEnumerable())
        {
            if (notice.Retention is { } retention)
            {
                _store.Retain(notice.Keys, retention);
            }
            else
            {
                _store.Touch(notice.Keys);
            }
        }
    }
}
