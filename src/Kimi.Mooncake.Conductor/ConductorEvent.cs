namespace Kimi.Mooncake.Conductor;

/// <summary>What an event of the conductor says.</summary>
public enum ConductorEventKind
{
    /// <summary>The ticket has its pair.</summary>
    Routed,

    /// <summary>The ticket is refused; it needs no release.</summary>
    Refused,

    /// <summary>A node that decodes or prefills for the ticket is lost. Once for each ticket and node.</summary>
    NodeLost,

    /// <summary>A membership is over: its connection is to be closed.</summary>
    MembershipEnded,

    /// <summary><see cref="ConductorCore.StoreNodes"/> changed: all members are to be told.</summary>
    StoreNodesChanged,

    /// <summary>The member is to copy blocks to another store node: <see cref="ConductorEvent.Order"/>.</summary>
    ReplicaOrdered,
}

/// <summary>Something that callers must act upon.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Ticket">The ticket it is about; null for events of members.</param>
/// <param name="Membership">The membership that ended, or that an order is for; default otherwise.</param>
/// <param name="NodeId">Name of the node it is about; empty where it is about none.</param>
/// <param name="Reason">For people, why a node was lost or a membership ended; empty otherwise.</param>
public readonly record struct ConductorEvent(
    ConductorEventKind Kind, RouteTicket? Ticket, MembershipId Membership, string NodeId, string Reason)
{
    /// <summary>What is to be copied; null for events of another kind.</summary>
    public ReplicaOrder? Order { get; init; }
}
