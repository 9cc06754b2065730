using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

/// <summary>A registered node: its last load, and what was routed to it that the load does not show yet.</summary>
internal sealed class ClusterNode(NodeDescriptor descriptor, int slot)
{
    // Share of a new request in the mean context length of a node's prefills.
    private const double ContextShare = 0.2;

    // Routed tickets in the order of routing, until a load shows them. Released ones stay in it until then.
    private readonly Queue<RouteTicket> _added = new();

    public NodeDescriptor Descriptor { get; private set; } = descriptor;

    public NodeAddress Address { get; private set; } = AddressOf(descriptor);

    public string Id => Descriptor.NodeId;

    /// <summary>Its number in the prefix index.</summary>
    public int Slot { get; } = slot;

    /// <summary>Default while its connection is broken.</summary>
    public MembershipId Membership { get; set; }

    public TimeSpan LastSeen { get; set; }

    public NodeLoad? Load { get; private set; }

    public bool IsDraining { get; private set; }

    /// <summary>Whether a load has come since draining began.</summary>
    public bool IsDrainReported { get; private set; }

    /// <summary>Whether its requests were told that it is lost.</summary>
    public bool IsSuspect { get; set; }

    public KvProgress Kv { get; set; }

    public ulong KvNextSequence { get; set; }

    /// <summary>Routed tickets that it decodes or prefills for, by number.</summary>
    public Dictionary<long, RouteTicket> Tickets { get; } = [];

    public int AddedSequences { get; private set; }

    public int AddedBlocks { get; private set; }

    /// <summary>Of the load, what belongs to tickets that ended since.</summary>
    public int EndedSequences { get; private set; }

    /// <summary>Of the load, what belongs to tickets that ended since.</summary>
    public int EndedBlocks { get; private set; }

    /// <summary>Sequences that it has, as far as known; only after the first load.</summary>
    public int Sequences => Math.Max(0, Load!.Waiting + Load.Running - EndedSequences) + AddedSequences;

    /// <summary>Blocks that requests hold, as far as known; only after the first load.</summary>
    public int BlocksTaken => Math.Max(0, Load!.BlocksHeld - EndedBlocks) + AddedBlocks;

    /// <summary>Blocks that a new request may take, as far as known; only after the first load.</summary>
    public int BlocksAvailable =>
        Load!.BlocksFree + Load.BlocksCached + Math.Min(Load.BlocksHeld, EndedBlocks) - AddedBlocks;

    public double AddedPrefillSeconds { get; private set; }

    /// <summary>Average position of the tokens prefilled here lately: what a queued token costs.</summary>
    public double MeanContext { get; private set; }

    public bool Has(NodeRoles role) => (Descriptor.Roles & role) != 0;

    /// <summary>
    /// Whether the keys that it tells are those of its store: a node that has a pool too tells those of the pool.
    /// </summary>
    public bool TellsStore => Has(NodeRoles.Store) && !Has(NodeRoles.Prefill | NodeRoles.Decode);

    /// <summary>Whether it may be given work.</summary>
    public bool IsUsable(TimeSpan now, TimeSpan suspectAfter) =>
        Load is { Ready: true, Draining: false } && !IsDraining && IsAlive(now, suspectAfter);

    /// <summary>Whether it answers, so that blocks may be pulled from it.</summary>
    public bool IsAlive(TimeSpan now, TimeSpan suspectAfter) =>
        Membership != default && Load is { Ready: true } && !IsSuspect && now - LastSeen < suspectAfter;

    /// <summary>Its connection came back: the process is the same, and goes on with what it has.</summary>
    public void Rejoin(NodeDescriptor descriptor)
    {
        Descriptor = descriptor;
        Address = AddressOf(descriptor);
        Load = null;
        (EndedSequences, EndedBlocks) = (0, 0);
        Kv = KvProgress.SnapshotExpected;
        IsSuspect = false;
    }

    public void BeginDrain()
    {
        IsDrainReported &= IsDraining;
        IsDraining = true;
    }

    /// <summary>Takes a load; what was routed longer ago than <paramref name="delay"/> is in it.</summary>
    public void Report(NodeLoad load, TimeSpan now, TimeSpan delay)
    {
        Load = load;
        IsDrainReported = IsDraining;
        (EndedSequences, EndedBlocks) = (0, 0);
        while (_added.TryPeek(out var ticket) && now - ticket.RoutedAt >= delay)
        {
            _added.Dequeue();
            Subtract(ticket);
        }
    }

    public void Add(RouteTicket ticket)
    {
        Tickets.Add(ticket.Id, ticket);
        _added.Enqueue(ticket);
        if (ticket.Decoding == this)
        {
            ticket.IsAddedToDecoding = true;
            AddedSequences++;
            AddedBlocks += ticket.Demand.Blocks;
        }

        if (ticket.Prefilling == this)
        {
            ticket.IsAddedToPrefilling = true;
            AddedPrefillSeconds += ticket.Demand.PrefillSeconds;
        }
    }

    public void Remove(RouteTicket ticket)
    {
        Tickets.Remove(ticket.Id);
        if (ticket.Decoding == this && !ticket.IsAddedToDecoding)
        {
            EndedSequences++;
            EndedBlocks += ticket.Demand.Blocks;
        }

        Subtract(ticket);
        if (Tickets.Count == 0)
        {
            // Sums of released tickets are exactly zero again, whatever the rounding of seconds left.
            _added.Clear();
            AddedPrefillSeconds = 0;
        }
    }

    /// <summary>Notes where in their prompts the tokens to be prefilled are.</summary>
    public void NotePrefill(long from, long to)
    {
        if (to > from)
        {
            var context = (from + to) / 2d;
            MeanContext = MeanContext == 0 ? context : MeanContext + ContextShare * (context - MeanContext);
        }
    }

    /// <summary>Requests that it still has, as far as known here or there.</summary>
    public DrainProgress Drain()
    {
        var routed = 0;
        foreach (var ticket in Tickets.Values)
        {
            // A prefill that the load shows is counted there; its ticket lives on while another node decodes.
            routed += ticket.Decoding == this || ticket.IsAddedToPrefilling ? 1 : 0;
        }

        var reported = Load is null ? 0 : Load.Waiting + Load.Running;
        var isDrained = IsDraining && IsDrainReported && routed == 0 && reported == 0 && Load is { BlocksHeld: 0 };
        return new DrainProgress(Math.Max(routed, reported), isDrained);
    }

    private static NodeAddress AddressOf(NodeDescriptor descriptor) =>
        new(descriptor.NodeId, descriptor.Address) { Host = descriptor.Host };

    private void Subtract(RouteTicket ticket)
    {
        if (ticket.Decoding == this && ticket.IsAddedToDecoding)
        {
            ticket.IsAddedToDecoding = false;
            AddedSequences--;
            AddedBlocks -= ticket.Demand.Blocks;
        }

        if (ticket.Prefilling == this && ticket.IsAddedToPrefilling)
        {
            ticket.IsAddedToPrefilling = false;
            AddedPrefillSeconds = Math.Max(0, AddedPrefillSeconds - ticket.Demand.PrefillSeconds);
        }
    }
}

/// <summary>Where the index of a node's keys stands.</summary>
internal enum KvProgress
{
    /// <summary>A snapshot must come first; the node sends one when it registers.</summary>
    SnapshotExpected,

    /// <summary>Events were missing, and a snapshot was asked for.</summary>
    SnapshotAskedFor,

    /// <summary>A snapshot has begun and not ended.</summary>
    InSnapshot,

    /// <summary>The index follows the events.</summary>
    Following,
}
