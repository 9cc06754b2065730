using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;

namespace Kimi.Mooncake.Cluster;

/// <summary>
/// The keys that a node has at the moment, and their latest changes by number. One thread publishes, others read; a
/// reader that has fallen behind the log's length starts again from a snapshot. A node with more keys than the feed
/// holds tells only some of them: what is told is a hint, and whoever wants to know asks the node.
/// </summary>
public sealed class KvEventFeed
{
    /// <summary>Events that the log keeps unless told otherwise.</summary>
    public const int LogEventsDefault = 65_536;

    private readonly Lock _lock = new();
    private readonly KvEvent[] _log;

    // The value orders the keys of a snapshot: a key that was added later comes later, so parents come first.
    private readonly Dictionary<BlockKey, long> _keys = [];
    private readonly int _keysMax;
    private long _last;
    private long _untold;

    /// <summary>A feed of a node that has no keys yet.</summary>
    /// <param name="logEventsMax">Events that the log keeps for readers that have not had them; at least 1.</param>
    /// <param name="keysMax">Keys at once; further ones are left out, and counted.</param>
    public KvEventFeed(int logEventsMax = LogEventsDefault, int keysMax = int.MaxValue)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(logEventsMax, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(keysMax, 1);
        _log = new KvEvent[logEventsMax];
        _keysMax = keysMax;
    }

    /// <summary>Keys that were left out because there were too many.</summary>
    public long Untold => Interlocked.Read(ref _untold);

    /// <summary>Keys that are told at the moment.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _keys.Count;
            }
        }
    }

    /// <summary>Raised after events were published, by the thread that did; must return at once.</summary>
    internal event Action? Published;

    /// <summary>Number of the latest event; 0 before the first.</summary>
    public long LastSequence
    {
        get
        {
            lock (_lock)
            {
                return _last;
            }
        }
    }

    /// <summary>Takes events in the order in which they happened. Waits for nobody but a copying reader.</summary>
    /// <param name="events">Each added key comes after its parent.</param>
    public void Publish(ReadOnlySpan<KvEvent> events)
    {
        if (events.IsEmpty)
        {
            return;
        }

        lock (_lock)
        {
            foreach (var change in events)
            {
                if (_keysMax < int.MaxValue && !IsTold(change))
                {
                    continue;
                }

                _last++;
                _log[_last % _log.Length] = change;
                if (change.Removed)
                {
                    _keys.Remove(change.Key);
                }
                else
                {
                    _keys[change.Key] = _last;
                }
            }
        }

        Published?.Invoke();
    }

    /// <summary>How many of the first keys are there.</summary>
    /// <param name="keys">Keys of a prefix, in order.</param>
    public int CountLeading(ReadOnlySpan<BlockKey> keys)
    {
        lock (_lock)
        {
            var count = 0;
            while (count < keys.Length && _keys.ContainsKey(keys[count]))
            {
                count++;
            }

            return count;
        }
    }

    private bool IsTold(in KvEvent change)
    {
        var isKnown = _keys.ContainsKey(change.Key);
        if (change.Removed || isKnown)
        {
            return isKnown;
        }

        if (_keys.Count < _keysMax)
        {
            return true;
        }

        Interlocked.Increment(ref _untold);
        return false;
    }

    /// <summary>All keys that are there, each after its parent, and the number of the last event in them.</summary>
    internal (BlockKey[] Keys, long Sequence) Snapshot()
    {
        BlockKey[] keys;
        long[] order;
        long sequence;
        lock (_lock)
        {
            keys = [.. _keys.Keys];
            order = [.. _keys.Values];
            sequence = _last;
        }

        Array.Sort(order, keys);
        return (keys, sequence);
    }

    /// <summary>Copies events.</summary>
    /// <param name="first">Number of the first one wanted.</param>
    /// <param name="destination">Where they go.</param>
    /// <param name="count">How many there were.</param>
    /// <returns>False when the log does not have the first one any more.</returns>
    internal bool TryRead(long first, Span<KvEvent> destination, out int count)
    {
        lock (_lock)
        {
            count = 0;
            if (first <= _last - _log.Length)
            {
                return false;
            }

            count = (int)Math.Min(destination.Length, Math.Max(0, _last - first + 1));
            for (var i = 0; i < count; i++)
            {
                destination[i] = _log[(first + i) % _log.Length];
            }

            return true;
        }
    }
}
