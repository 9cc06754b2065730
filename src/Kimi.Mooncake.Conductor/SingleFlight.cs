using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

/// <summary>
/// Blocks that no node has and that one is computing for a routed request: later requests go there and wait for the
/// first, instead of computing them again elsewhere. A key is in flight until a node reports it, or until no ticket
/// that counts on it is left.
/// </summary>
internal sealed class SingleFlight
{
    private readonly Dictionary<BlockKey, Flight> _flights = [];

    public int Count => _flights.Count;

    /// <summary>Leading keys from <paramref name="from"/> that are in flight at one node.</summary>
    /// <param name="keys">Keys of a prompt's full blocks.</param>
    /// <param name="from">First key that no node has.</param>
    /// <param name="slot">The node; -1 when there is none.</param>
    public int Match(ReadOnlySpan<BlockKey> keys, int from, out int slot)
    {
        slot = -1;
        var index = from;
        for (; index < keys.Length && _flights.TryGetValue(keys[index], out var flight); index++)
        {
            if (slot >= 0 && flight.Slot != slot)
            {
                break;
            }

            slot = flight.Slot;
        }

        return index - from;
    }

    /// <summary>
    /// Notes that <paramref name="ticket"/> has the keys from <paramref name="from"/> on computed at
    /// <paramref name="slot"/>. Those in flight at another node that is there stay its own.
    /// </summary>
    public void Begin(RouteTicket ticket, int from, int slot, Func<int, bool> isThere)
    {
        var keys = ticket.Query.BlockKeys.Span;
        for (var index = from; index < keys.Length; index++)
        {
            ref var flight = ref CollectionsMarshal.GetValueRefOrAddDefault(_flights, keys[index], out var exists);
            if (exists && flight.Slot != slot && isThere(flight.Slot))
            {
                continue;
            }

            if (!exists || flight.Slot != slot)
            {
                flight = new Flight(ticket.Id, slot, 0);
            }

            flight = flight with { Tickets = flight.Tickets + 1 };
            ticket.AddFlight(index, flight.Origin);
        }
    }

    /// <summary>A node has the block now.</summary>
    public void Arrived(in BlockKey key)
    {
        if (_flights.Count > 0)
        {
            _flights.Remove(key);
        }
    }

    /// <summary>Ends what a ticket counted on.</summary>
    public void End(RouteTicket ticket)
    {
        var keys = ticket.Query.BlockKeys.Span;
        foreach (var (from, to, origin) in ticket.Flights)
        {
            for (var index = from; index < to; index++)
            {
                ref var flight = ref CollectionsMarshal.GetValueRefOrNullRef(_flights, keys[index]);
                if (Unsafe.IsNullRef(ref flight) || flight.Origin != origin)
                {
                    continue;
                }

                flight = flight with { Tickets = flight.Tickets - 1 };
                if (flight.Tickets == 0)
                {
                    _flights.Remove(keys[index]);
                }
            }
        }

        ticket.Flights.Clear();
    }

    /// <summary>A node is gone: what it was computing is in flight no more.</summary>
    public void RemoveNode(int slot)
    {
        foreach (var (key, flight) in _flights)
        {
            if (flight.Slot == slot)
            {
                _flights.Remove(key);
            }
        }
    }

    // Origin is the ticket that began it: a key that arrived, was evicted and is computed once more is another flight.
    private readonly record struct Flight(long Origin, int Slot, int Tickets);
}
