using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Conductor;

/// <summary>
/// Who is there, what they have cached, and which workers serve a request. It holds no clock and does no I/O: the time
/// is an argument, from any clock that does not go back. Not safe for concurrent use; one lock or one thread owns it.
/// Every decision is an event too, also when it was taken at once: read <see cref="Events"/> after each call.
/// </summary>
/// <remarks>
/// Invariants: a ticket is waiting, routed, refused or released, and counted nowhere in the last two; a routed ticket
/// is known to exactly its nodes; what was added to a node's load for tickets is zero when it has none; equal calls
/// give equal events. <see cref="CheckIntegrity"/> proves the first three.
/// </remarks>
public sealed partial class ConductorCore
{
    private readonly ConductorOptions _options;
    private readonly TimeSpan _suspectAfter;
    private readonly List<ClusterNode> _nodes = [];
    private readonly Dictionary<MembershipId, ClusterNode> _members = [];
    private readonly Stack<int> _freeSlots = new();
    private readonly PrefixIndex _index;
    private readonly SingleFlight _flights = new();
    private readonly ReplicaPlanner _replicas;
    private readonly PairSelector _selector;
    private readonly AdmissionQueue _queue = new();
    private readonly RouteRate _rate = new();
    private readonly List<ConductorEvent> _events = [];
    private List<NodeAddress> _storeNodes = [];
    private ConductorCounters _counters;
    private TimeSpan? _lastExpired;
    private long _lastMembership;
    private long _lastTicket;

    /// <summary>Starts without nodes.</summary>
    /// <param name="options">Bounds and weights.</param>
    /// <param name="replicas">How many store nodes keep a block; null for the defaults.</param>
    public ConductorCore(ConductorOptions options, ReplicaOptions? replicas = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.ExpireAfterMs < options.SuspectAfterMs || options.SuspectAfterMs <= options.LoadIntervalMs)
        {
            throw new ArgumentException(
                $"LoadIntervalMs ({options.LoadIntervalMs}) must be below SuspectAfterMs ({options.SuspectAfterMs}), "
                + $"and that not above ExpireAfterMs ({options.ExpireAfterMs})",
                nameof(options));
        }

        _options = options;
        _suspectAfter = TimeSpan.FromMilliseconds(options.SuspectAfterMs);
        _index = new PrefixIndex(options.NodesMax, options.IndexKeysMax);
        _replicas = new ReplicaPlanner(replicas ?? new ReplicaOptions(), _index);
        _selector = new PairSelector(options, _index, _flights);
        for (var slot = options.NodesMax - 1; slot >= 0; slot--)
        {
            _freeSlots.Push(slot);
        }
    }

    /// <summary>What happened since <see cref="ClearEvents"/>; valid until the next call.</summary>
    public ReadOnlySpan<ConductorEvent> Events => CollectionsMarshal.AsSpan(_events);

    /// <summary>Nodes that keep blocks for all and answer, by name.</summary>
    public IReadOnlyList<NodeAddress> StoreNodes => _storeNodes;

    /// <summary>Requests that wait for workers.</summary>
    public int Waiting => _queue.Count;

    /// <summary>Requests routed and not released.</summary>
    public int Routed { get; private set; }

    /// <summary>Keys in the prefix index.</summary>
    public int IndexedKeys => _index.Count;

    /// <summary>What happened since the start.</summary>
    public ConductorCounters Counters => _counters with
    {
        IndexKeysDropped = _index.Dropped,
        ReplicaOrders = _replicas.Counters.Orders,
        ReplicasRestoring = _replicas.Counters.Restoring,
        ReplicaOrdersDone = _replicas.Counters.Done,
        ReplicaOrdersFailed = _replicas.Counters.Failed,
        ReplicaOrdersLost = _replicas.Counters.Lost,
        ReplicaBlocks = _replicas.Counters.Blocks,
    };

    /// <summary>Forgets the events.</summary>
    public void ClearEvents() => _events.Clear();

    /// <summary>Proves the accounting; for tests and for the end of a chaos run.</summary>
    /// <exception cref="InvalidOperationException">Something is counted wrongly.</exception>
    public void CheckIntegrity()
    {
        var routed = new HashSet<RouteTicket>();
        foreach (var node in _nodes)
        {
            var (sequences, blocks) = (0, 0);
            foreach (var ticket in node.Tickets.Values)
            {
                Require(ticket.State == RouteState.Routed, $"{node.Id} counts ticket {ticket.Id}: {ticket.State}");
                Require(ticket.Decoding == node || ticket.Prefilling == node, $"{node.Id} is not in {ticket.Id}");
                routed.Add(ticket);
                sequences += ticket.Decoding == node && ticket.IsAddedToDecoding ? 1 : 0;
                blocks += ticket.Decoding == node && ticket.IsAddedToDecoding ? ticket.Demand.Blocks : 0;
            }

            Require(sequences == node.AddedSequences, $"{node.Id}: {node.AddedSequences} sequences added");
            Require(blocks == node.AddedBlocks, $"{node.Id}: {node.AddedBlocks} blocks added");
            Require(node.Tickets.Count > 0 || node.AddedPrefillSeconds == 0, $"{node.Id}: prefill time added");
        }

        Require(routed.Count <= Routed, $"{routed.Count} tickets at nodes, {Routed} routed");
        Require(_replicas.Fault() is null, _replicas.Fault() ?? "");
        Require(Routed > 0 || _flights.Count == 0, $"{_flights.Count} keys in flight, no ticket routed");
        var waiting = 0;
        for (var tenant = _queue.First; tenant is not null; tenant = tenant.Next)
        {
            waiting += tenant.Value.Tickets.Count;
        }

        Require(waiting == Waiting && waiting <= _options.QueueRequestsMax, $"{waiting} tickets wait, not {Waiting}");
    }

    private static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new InvalidOperationException(message);
        }
    }

    private void Raise(ConductorEventKind kind, RouteTicket? ticket, string nodeId = "", string reason = "") =>
        _events.Add(new ConductorEvent(kind, ticket, default, nodeId, reason));
}
