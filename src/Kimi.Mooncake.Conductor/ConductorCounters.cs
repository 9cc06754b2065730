namespace Kimi.Mooncake.Conductor;

/// <summary>What happened since the start.</summary>
public record struct ConductorCounters
{
    /// <summary>Requests submitted.</summary>
    public long Submitted { get; set; }

    /// <summary>Requests that got workers.</summary>
    public long Routed { get; set; }

    /// <summary>Of those, prefilled by the worker that decodes.</summary>
    public long RoutedLocal { get; set; }

    /// <summary>Of those, sent where their missing blocks were being computed already.</summary>
    public long RoutedJoined { get; set; }

    /// <summary>Of those, with a node to pull cached blocks from.</summary>
    public long RoutedWithSource { get; set; }

    /// <summary>Of those, with a worker standing in for a missing role.</summary>
    public long RoutedDegraded { get; set; }

    /// <summary>Requests given back while they waited.</summary>
    public long Abandoned { get; set; }

    /// <summary>Requests refused because the queue was full.</summary>
    public long RefusedQueueFull { get; set; }

    /// <summary>Requests refused after the longest wait.</summary>
    public long RefusedQueueTimeout { get; set; }

    /// <summary>Requests refused because no worker was there.</summary>
    public long RefusedNoWorker { get; set; }

    /// <summary>Requests refused because no pool can hold them.</summary>
    public long RefusedTooLong { get; set; }

    /// <summary>Times that a node with or without requests counted as lost.</summary>
    public long NodesLost { get; set; }

    /// <summary>Registrations refused.</summary>
    public long RegistrationsRefused { get; set; }

    /// <summary>Times that KV events were missing.</summary>
    public long KvResyncs { get; set; }

    /// <summary>Keys left out because the index was full.</summary>
    public long IndexKeysDropped { get; set; }

    /// <summary>Orders to store nodes to copy blocks to another one.</summary>
    public long ReplicaOrders { get; set; }

    /// <summary>Of these, for blocks that had all their replicas before.</summary>
    public long ReplicasRestoring { get; set; }

    /// <summary>Orders that were done.</summary>
    public long ReplicaOrdersDone { get; set; }

    /// <summary>Orders that failed, or were not reported on in time.</summary>
    public long ReplicaOrdersFailed { get; set; }

    /// <summary>Orders that ended because a node was lost.</summary>
    public long ReplicaOrdersLost { get; set; }

    /// <summary>Blocks that were copied.</summary>
    public long ReplicaBlocks { get; set; }
}
