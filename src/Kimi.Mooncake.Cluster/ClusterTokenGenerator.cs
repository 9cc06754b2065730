using System.Runtime.CompilerServices;
using Kimi.Mooncake.Core;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Cluster;

/// <summary>
/// A cluster as one generator. A request whose worker is lost goes on at another one, from the tokens that its reader
/// has already; the reader sees one stream.
/// </summary>
public sealed class ClusterTokenGenerator : ITokenGenerator, IAsyncDisposable
{
    private readonly ResumptionParts _parts;
    private readonly ClusterWatch _watch;

    /// <summary>Starts to watch the cluster; no node need be there yet.</summary>
    /// <param name="model">
    /// The gateway's own model file: name, vocabulary and fingerprint are taken from it, its context and layout hold
    /// until a worker is there.
    /// </param>
    /// <param name="router">Chooses workers; owned by the caller.</param>
    /// <param name="workers">Calls workers.</param>
    /// <param name="options">Intervals and limits.</param>
    /// <param name="retry">How often a request is tried again.</param>
    /// <param name="time">Clock.</param>
    /// <param name="logger">Is told of retries, and when nobody can serve.</param>
    public ClusterTokenGenerator(
        ModelCard model, IRouter router, WorkerClient workers, RemoteWorkerOptions options, RetryOptions retry,
        TimeProvider time, ILogger logger)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(retry);
        var counters = new RetryCounters();
        _watch = new ClusterWatch(model, router, workers, options, retry, counters, time, logger);
        _parts = new ResumptionParts(
            router, workers, retry, new RetryBudget(retry), counters,
            TimeSpan.FromSeconds(options.GenerationSecondsMax), time, logger);
    }

    /// <inheritdoc />
    public ModelCard Model => _watch.Model;

    /// <inheritdoc />
    public WorkerStatus Status() => _watch.Status();

    /// <inheritdoc />
    /// <exception cref="ClusterBusyException">The cluster takes no request at the moment; nothing was done.</exception>
    /// <exception cref="NoWorkerException">No worker is there, or nobody can say which.</exception>
    public async IAsyncEnumerable<GenerationEvent> GenerateAsync(
        GenerationRequest request, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(request);
        _watch.Refresh();
        var stream = new ResumableStream(_parts, request, Model, cancellationToken);
        await using var owned = stream.ConfigureAwait(false);
        while (await stream.NextAsync().ConfigureAwait(false) is { } next)
        {
            yield return next;
        }
    }

    /// <summary>Stops to watch the cluster. Generations that are running go on.</summary>
    public ValueTask DisposeAsync() => _watch.DisposeAsync();
}
