namespace Kimi.Mooncake.Conductor;

/// <summary>Where a ticket stands.</summary>
public enum RouteState
{
    /// <summary>Waits for workers.</summary>
    Waiting,

    /// <summary>Has workers; what it takes of them is counted until it is released.</summary>
    Routed,

    /// <summary>Was refused.</summary>
    Refused,

    /// <summary>Was given back.</summary>
    Released,
}

/// <summary>
/// A request in the hands of the conductor, from <see cref="ConductorCore.Submit"/> to
/// <see cref="ConductorCore.Release"/>. Read it under the same lock as the core.
/// </summary>
public sealed class RouteTicket
{
    internal RouteTicket(long id, RouteQuery query, TimeSpan submitted)
    {
        Id = id;
        Query = query;
        Submitted = submitted;
    }

    /// <summary>Number of the ticket, ascending in the order of arrival.</summary>
    public long Id { get; }

    /// <summary>What was asked for.</summary>
    public RouteQuery Query { get; }

    /// <summary>When it was submitted.</summary>
    public TimeSpan Submitted { get; }

    /// <summary>Where it stands.</summary>
    public RouteState State { get; internal set; }

    /// <summary>The workers; null unless it was routed.</summary>
    public WorkerPair? Pair { get; internal set; }

    /// <summary>Why it was refused; null unless it was.</summary>
    public RouteRefusal? Refusal { get; internal set; }

    internal ClusterNode? Decoding { get; set; }

    /// <summary>The node that computes the prompt; the decoding one where no other does.</summary>
    internal ClusterNode? Prefilling { get; set; }

    internal RouteDemand Demand { get; set; }

    internal TimeSpan RoutedAt { get; set; }

    /// <summary>Its place among the waiting tickets of its tenant; null when it does not wait.</summary>
    internal LinkedListNode<RouteTicket>? Place { get; set; }

    /// <summary>Since when no node is there that could serve it; null while one is.</summary>
    internal TimeSpan? WorklessSince { get; set; }

    /// <summary>Whether <see cref="Demand"/> is added to the load of <see cref="Decoding"/>.</summary>
    internal bool IsAddedToDecoding { get; set; }

    /// <summary>Whether <see cref="Demand"/> is added to the load of <see cref="Prefilling"/>.</summary>
    internal bool IsAddedToPrefilling { get; set; }

    internal bool IsDecodingLost { get; set; }

    internal bool IsPrefillingLost { get; set; }

    /// <summary>The runs of its keys that it counts on as in flight, with the ticket that began each.</summary>
    internal List<(int From, int To, long Origin)> Flights { get; } = [];

    /// <summary>Whether a node of this name may not take part.</summary>
    internal bool Excludes(string nodeId)
    {
        for (var index = 0; index < Query.ExcludedNodes.Count; index++)
        {
            if (string.Equals(Query.ExcludedNodes[index], nodeId, StringComparison.Ordinal))
            {
                return true;
            }
        }

        return false;
    }

    internal void AddFlight(int index, long origin)
    {
        if (Flights.Count > 0 && Flights[^1] is var last && last.To == index && last.Origin == origin)
        {
            Flights[^1] = (last.From, index + 1, origin);
        }
        else
        {
            Flights.Add((index, index + 1, origin));
        }
    }
}

/// <summary>What a routed request takes of its nodes until their loads show it.</summary>
/// <param name="Blocks">Blocks of the decoding node's pool.</param>
/// <param name="PrefillTokens">Prompt tokens to be computed.</param>
/// <param name="PrefillSeconds">Estimated time to compute them, with what is pulled before.</param>
internal readonly record struct RouteDemand(int Blocks, long PrefillTokens, double PrefillSeconds);
