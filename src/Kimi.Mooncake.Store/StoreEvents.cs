using System.Collections.Concurrent;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>
/// Brings events to the listeners in the order in which they were noted. They are noted under a lock and told outside
/// it: by the thread that finds nobody else telling.
/// </summary>
internal sealed class StoreEvents
{
    private readonly ConcurrentQueue<Event> _queue = new();
    private readonly Lock _gate = new();
    private volatile IStoreListener[] _listeners = [];
    private int _telling;

    private readonly record struct Event(bool IsStored, BlockKey Key, BlockKey Parent, IStoreListener? Only);

    /// <summary>Whether anybody listens.</summary>
    public bool Wanted => _listeners.Length > 0;

    /// <summary>Adds a listener; what is there already is for the caller to note.</summary>
    public void Add(IStoreListener listener)
    {
        lock (_gate)
        {
            _listeners = [.. _listeners, listener];
        }
    }

    /// <summary>Notes that a block can be found.</summary>
    /// <param name="key">Its key.</param>
    /// <param name="parent">Key of the block before it.</param>
    /// <param name="only">The listener to be told; null: all.</param>
    public void NoteStored(in BlockKey key, in BlockKey parent, IStoreListener? only = null)
    {
        if (Wanted)
        {
            _queue.Enqueue(new Event(true, key, parent, only));
        }
    }

    /// <summary>Notes that a block cannot be found any more.</summary>
    public void NoteRemoved(in BlockKey key)
    {
        if (Wanted)
        {
            _queue.Enqueue(new Event(false, key, default, null));
        }
    }

    /// <summary>Tells what was noted, unless another thread is at it; outside every lock.</summary>
    public void Tell()
    {
        while (!_queue.IsEmpty && Interlocked.CompareExchange(ref _telling, 1, 0) == 0)
        {
            try
            {
                while (_queue.TryDequeue(out var next))
                {
                    Tell(next);
                }
            }
            finally
            {
                Volatile.Write(ref _telling, 0);
            }
        }
    }

    private void Tell(in Event next)
    {
        foreach (var listener in next.Only is { } only ? [only] : _listeners)
        {
            if (next.IsStored)
            {
                listener.Stored(next.Key, next.Parent);
            }
            else
            {
                listener.Removed(next.Key);
            }
        }
    }
}
