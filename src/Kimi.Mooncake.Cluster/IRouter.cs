using Kimi.Mooncake.Conductor;

namespace Kimi.Mooncake.Cluster;

/// <summary>Chooses the workers of requests: the conductor, in this process or in another one.</summary>
public interface IRouter
{
    /// <summary>Waits for the workers of a request.</summary>
    /// <param name="query">What is to be served.</param>
    /// <param name="cancellationToken">Gives up; the conductor then forgets the request.</param>
    /// <returns>The workers, and what the conductor counts for the request until it is disposed.</returns>
    /// <exception cref="ClusterBusyException">Too many requests wait, or it waited too long.</exception>
    /// <exception cref="PromptTooLongException">No worker's memory can ever hold it.</exception>
    /// <exception cref="NoWorkerException">No worker is there that could serve it.</exception>
    /// <exception cref="ConductorUnavailableException">The conductor cannot be reached.</exception>
    Task<IRouteLease> RouteAsync(RouteQuery query, CancellationToken cancellationToken);

    /// <summary>The nodes and the queue, as last known. Never waits.</summary>
    ClusterState State();

    /// <summary>What the conductor counts; empty where it is in another process.</summary>
    IReadOnlyList<Metric> Metrics();
}

/// <summary>
/// What a request has of the cluster. Disposing it gives everything back. When the conductor is lost the lease only
/// hears of nothing any more: its workers go on.
/// </summary>
public interface IRouteLease : IAsyncDisposable
{
    /// <summary>The workers.</summary>
    WorkerPair Pair { get; }

    /// <summary>Cancelled when the worker that decodes is lost.</summary>
    CancellationToken DecodeLost { get; }

    /// <summary>Cancelled when the worker that prefills is lost, with what it has not handed over by then.</summary>
    CancellationToken PrefillLost { get; }

    /// <summary>Why a node was lost; empty as long as none is.</summary>
    string LostReason { get; }
}

/// <summary>The cluster as its conductor sees it.</summary>
/// <param name="Nodes">Registered nodes.</param>
/// <param name="Waiting">Requests that wait for workers.</param>
/// <param name="Routed">Requests that have workers and have not ended.</param>
/// <param name="DegradedReason">Which role has no worker of its own; empty when each has.</param>
/// <param name="AwayReason">Why the conductor cannot be asked; empty when it can.</param>
public sealed record ClusterState(
    IReadOnlyList<NodeState> Nodes, int Waiting, int Routed, string DegradedReason, string AwayReason);

/// <summary>Thrown when the conductor cannot be reached.</summary>
/// <param name="message">Which one, and what happened.</param>
/// <param name="cause">What was thrown; null where nothing was.</param>
public sealed class ConductorUnavailableException(string message, Exception? cause = null) : Exception(message, cause);
