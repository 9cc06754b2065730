using System.Diagnostics.CodeAnalysis;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// Which peers are said to have which block, and in which order to ask them. A hint may be wrong, then the block is
/// computed; it is forgotten after a while, and the oldest go when there are too many. Any thread may call; nothing
/// here blocks.
/// </summary>
/// <param name="blocksMax">Most hints.</param>
/// <param name="lifetime">How long a hint is believed.</param>
/// <param name="time">Clock.</param>
internal sealed class BlockHints(int blocksMax, TimeSpan lifetime, TimeProvider time)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<BlockKey, Hint> _hints = [];
    // In the order in which they were given; one that was given again or removed is in it in vain.
    private readonly Queue<(BlockKey Key, long Number)> _order = [];
    private long _lastNumber;

    private readonly record struct Hint(Peer[] Sources, long GivenAt, long Number);

    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _hints.Count;
            }
        }
    }

    public void Add(ReadOnlySpan<BlockKey> keys, Peer[] sources)
    {
        lock (_gate)
        {
            var now = time.GetTimestamp();
            foreach (ref readonly var key in keys)
            {
                if (_order.Count == blocksMax)
                {
                    DropOldest();
                }

                _hints[key] = new Hint(sources, now, ++_lastNumber);
                _order.Enqueue((key, _lastNumber));
            }
        }
    }

    public bool TryFind(in BlockKey key, [NotNullWhen(true)] out Peer[]? sources)
    {
        lock (_gate)
        {
            var found = _hints.TryGetValue(key, out var hint) && time.GetElapsedTime(hint.GivenAt) < lifetime;
            sources = found ? hint.Sources : null;
            return found;
        }
    }

    /// <summary>None of the peers has the blocks; what was said of others since stays.</summary>
    public void Remove(ReadOnlySpan<BlockKey> keys, Peer[] sources)
    {
        lock (_gate)
        {
            foreach (ref readonly var key in keys)
            {
                if (_hints.TryGetValue(key, out var hint) && ReferenceEquals(hint.Sources, sources))
                {
                    _hints.Remove(key);
                }
            }
        }
    }

    private void DropOldest()
    {
        var (key, number) = _order.Dequeue();
        if (_hints.TryGetValue(key, out var hint) && hint.Number == number)
        {
            _hints.Remove(key);
        }
    }
}
