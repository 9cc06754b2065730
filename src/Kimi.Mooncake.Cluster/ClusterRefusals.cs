namespace Kimi.Mooncake.Cluster;

/// <summary>
/// Thrown when the worker that was to prefill cannot be reached, or failed; the request may be tried with another one.
/// </summary>
/// <param name="address">Address of that worker.</param>
/// <param name="reason">What happened.</param>
public sealed class PrefillUnavailableException(string address, string reason)
    : Exception($"prefill worker {address}: {reason}")
{
    /// <summary>Address of that worker.</summary>
    public string Address { get; } = address;

    /// <summary>What happened.</summary>
    public string Reason { get; } = reason;
}

/// <summary>Thrown when a worker takes no new work because it is to be stopped; nothing was done.</summary>
public sealed class DrainingException() : Exception("the worker is draining and takes no new work");

/// <summary>Thrown when the cluster takes no request at the moment; nothing was done.</summary>
/// <param name="message">What is full.</param>
/// <param name="retryAfter">When to try again.</param>
public sealed class ClusterBusyException(string message, TimeSpan retryAfter) : Exception(message)
{
    /// <summary>When to try again.</summary>
    public TimeSpan RetryAfter { get; } = retryAfter;
}

/// <summary>Thrown when the cluster has no worker for a request, or nobody can say which.</summary>
/// <param name="message">What is missing.</param>
/// <param name="cause">What was thrown; null where nothing was.</param>
public sealed class NoWorkerException(string message, Exception? cause = null) : Exception(message, cause);
