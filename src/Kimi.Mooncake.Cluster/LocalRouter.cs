using Kimi.Mooncake.Conductor;

namespace Kimi.Mooncake.Cluster;

/// <summary>The way to the conductor of the same process.</summary>
/// <param name="conductor">Who decides; owned by the caller.</param>
public sealed class LocalRouter(ConductorLoop conductor) : IRouter
{
    /// <inheritdoc />
    public async Task<IRouteLease> RouteAsync(RouteQuery query, CancellationToken cancellationToken)
    {
        var lease = conductor.Submit(query);
        try
        {
            await lease.Decided.WaitAsync(cancellationToken).ConfigureAwait(false);
            return lease.Refusal is null ? lease : throw RouteRefusals.ToException(lease.Refusal);
        }
        catch
        {
            await lease.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <inheritdoc />
    public ClusterState State() => conductor.State();

    /// <inheritdoc />
    public IReadOnlyList<Metric> Metrics()
    {
        var counters = conductor.Counters();
        var replicas = conductor.Replicas();
        return
        [
            Counter("conductor_requests_total", "Requests that asked for workers.", counters.Submitted),
            Counter("conductor_routed_total", "Requests that got workers.", counters.Routed),
            Counter("conductor_routed_local_total", "Of these, prefilled by the worker that decodes.",
                counters.RoutedLocal),
            Counter("conductor_routed_joined_total", "Of these, sent where their blocks were being computed.",
                counters.RoutedJoined),
            Counter("conductor_routed_with_source_total", "Of these, with a node to pull cached blocks from.",
                counters.RoutedWithSource),
            Counter("conductor_routed_degraded_total", "Of these, with a worker standing in for a missing role.",
                counters.RoutedDegraded),
            Counter("conductor_abandoned_total", "Requests given back while they waited.", counters.Abandoned),
            Refused("queue_full", counters.RefusedQueueFull),
            Refused("queue_timeout", counters.RefusedQueueTimeout),
            Refused("no_worker", counters.RefusedNoWorker),
            Refused("too_long", counters.RefusedTooLong),
            Counter("conductor_nodes_lost_total", "Times that a node was lost.", counters.NodesLost),
            Counter("conductor_registrations_refused_total", "Registrations refused.", counters.RegistrationsRefused),
            Counter("conductor_kv_resyncs_total", "Times that KV events were missing.", counters.KvResyncs),
            Counter("conductor_index_keys_dropped_total", "Keys left out because the index was full.",
                counters.IndexKeysDropped),
            Counter("conductor_replica_orders_total", "Orders to copy blocks from a store node to another.",
                counters.ReplicaOrders),
            Counter("conductor_replica_restorations_total",
                "Of these, for blocks that had all their replicas before.", counters.ReplicasRestoring),
            Counter("conductor_replica_orders_done_total", "Orders that were done.", counters.ReplicaOrdersDone),
            Counter("conductor_replica_orders_failed_total", "Orders that failed or were not reported on in time.",
                counters.ReplicaOrdersFailed),
            Counter("conductor_replica_orders_lost_total", "Orders that ended because a node was lost.",
                counters.ReplicaOrdersLost),
            Counter("conductor_replica_blocks_total", "Blocks copied by orders.", counters.ReplicaBlocks),
            Gauge("conductor_replica_orders_open", "Orders being done.", replicas.Orders),
            Gauge("conductor_tracked_groups", "Groups of blocks whose requests are counted.",
                replicas.TrackedGroups),
            Gauge("conductor_replicated_groups", "Of these, groups with blocks that are hot or of a context.",
                replicas.WantedGroups),
        ];
    }

    private static Metric Counter(string name, string help, long value) => new(name, IsCounter: true, help, value);

    private static Metric Gauge(string name, string help, long value) => new(name, IsCounter: false, help, value);

    private static Metric Refused(string reason, long value) => new(
        "conductor_refused_total", IsCounter: true, "Requests refused before any work.", value, $"reason=\"{reason}\"");
}

/// <summary>What a router throws for a refusal.</summary>
internal static class RouteRefusals
{
    public static Exception ToException(RouteRefusal refusal) => refusal.Reason switch
    {
        RouteRefusalReason.TooLong => new PromptTooLongException(refusal.Value, refusal.ValueMax),
        RouteRefusalReason.NoWorker => new NoWorkerException(refusal.Message),
        _ => new ClusterBusyException(refusal.Message, refusal.RetryAfter),
    };
}
