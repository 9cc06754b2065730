using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Cluster;

/// <summary>
/// What is known of a cluster at any moment: its model, whether it can serve, its nodes and their counters, which are
/// asked for in the background.
/// </summary>
internal sealed class ClusterWatch : IAsyncDisposable
{
    private const NodeRoles WorkerRoles = NodeRoles.Prefill | NodeRoles.Decode;

    private readonly ModelCard _ownModel;
    private readonly IRouter _router;
    private readonly WorkerClient _workers;
    private readonly RemoteWorkerOptions _options;
    private readonly RetryOptions _retry;
    private readonly RetryCounters _retries;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly NodeMetrics _metrics = new();
    private readonly CancellationTokenSource _stopping = new();
    private readonly Task _watching;
    private ModelCard _model;
    private long _lastUsable;
    private bool _wasReady;

    public ClusterWatch(
        ModelCard model, IRouter router, WorkerClient workers, RemoteWorkerOptions options, RetryOptions retry,
        RetryCounters retries, TimeProvider time, ILogger logger)
    {
        _ownModel = model;
        _model = model;
        _router = router;
        _workers = workers;
        _options = options;
        _retry = retry;
        _retries = retries;
        _time = time;
        _logger = logger;
        _watching = WatchAsync();
    }

    public ModelCard Model => Volatile.Read(ref _model);

    /// <summary>Takes over what the conductor says now, which costs no waiting.</summary>
    public ClusterState Refresh()
    {
        var state = _router.State();
        if (state.Nodes.Any(IsUsable))
        {
            // 0 stands for never.
            Volatile.Write(ref _lastUsable, Math.Max(1, _time.GetTimestamp()));
        }

        var workers = state.Nodes.Where(node => (node.Descriptor.Roles & WorkerRoles) != 0).ToArray();
        if (workers.Length > 0)
        {
            var decoding = workers.Where(node => node.Descriptor.Roles.HasFlag(NodeRoles.Decode)).ToArray();
            var context = (decoding.Length > 0 ? decoding : workers).Max(node => node.Descriptor.Model.ContextLength);
            var model = _ownModel with
            {
                KvLayout = workers[0].Descriptor.Model.KvLayout,
                ContextLength = Math.Min(context, _ownModel.ContextLength),
            };
            if (model != Model)
            {
                Volatile.Write(ref _model, model);
            }
        }

        return state;
    }

    public WorkerStatus Status()
    {
        var state = Refresh();
        var reason = NotReadyReason(state);
        var nodes = state.Nodes.Select(StatusOf).ToArray();
        return new WorkerStatus
        {
            Ready = reason.Length == 0,
            NotReadyReason = reason,
            Waiting = state.Waiting + nodes.Sum(node => node.Waiting),
            Running = nodes.Sum(node => node.Running),
            BlocksTotal = nodes.Sum(node => node.BlocksTotal),
            BlocksFree = nodes.Sum(node => node.BlocksFree),
            BlocksCached = nodes.Sum(node => node.BlocksCached),
            BlocksHeld = nodes.Sum(node => node.BlocksHeld),
            Metrics = [.. _metrics.Sum(), .. OwnMetrics(state), .. _retries.Metrics(), .. _router.Metrics()],
            Cluster = new ClusterStatus
            {
                DegradedReason = state.DegradedReason,
                Waiting = state.Waiting,
                Routed = state.Routed,
                Nodes = nodes,
            },
        };
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync().ConfigureAwait(false);
        await _watching.ConfigureAwait(false);
        _stopping.Dispose();
    }

    private static bool IsUsable(NodeState node) =>
        node.Health == NodeHealth.Ready && (node.Descriptor.Roles & WorkerRoles) != 0;

    private static IEnumerable<Metric> OwnMetrics(ClusterState state)
    {
        yield return new Metric(
            "cluster_degraded", IsCounter: false, "Whether a role has no worker of its own.",
            state.DegradedReason.Length > 0 ? 1 : 0);
        yield return new Metric(
            "cluster_requests_waiting", IsCounter: false, "Requests that wait for workers.", state.Waiting);
        yield return new Metric(
            "cluster_requests_routed", IsCounter: false, "Requests that have workers.", state.Routed);
        foreach (var health in Enum.GetValues<NodeHealth>())
        {
            yield return new Metric(
                "cluster_nodes", IsCounter: false, "Registered nodes.",
                state.Nodes.Count(node => node.Health == health), $"health=\"{NameOf(health)}\"");
        }
    }

    private static string NameOf(NodeHealth health) => health switch
    {
        NodeHealth.Ready => "ready",
        NodeHealth.Draining => "draining",
        _ => "suspect",
    };

    private NodeStatus StatusOf(NodeState node)
    {
        var load = node.Load ?? new NodeLoad();
        return new NodeStatus
        {
            NodeId = node.Descriptor.NodeId,
            Roles = node.Descriptor.Roles,
            Address = node.Descriptor.Address,
            Health = NameOf(node.Health),
            HealthReason = node.HealthReason,
            Waiting = load.Waiting,
            Running = load.Running,
            Routed = node.Routed,
            BlocksTotal = node.Descriptor.BlocksTotal,
            BlocksFree = load.BlocksFree,
            BlocksCached = load.BlocksCached,
            BlocksHeld = load.BlocksHeld,
            IndexedBlocks = node.IndexedBlocks,
            Metrics = _metrics.Of(node.Descriptor),
        };
    }

    /// <summary>
    /// A cluster that could serve a moment ago counts as ready: workers and conductors restart, and requests wait for
    /// them.
    /// </summary>
    private string NotReadyReason(ClusterState state)
    {
        var other = state.Nodes.FirstOrDefault(node => node.Descriptor.Model.Fingerprint != _ownModel.Fingerprint);
        if (other is not null)
        {
            return $"the model files differ: node {other.Descriptor.NodeId} serves " +
                $"{other.Descriptor.Model.Fingerprint}, this gateway's file is {_ownModel.Fingerprint}";
        }

        var last = Volatile.Read(ref _lastUsable);
        if (last > 0 && _time.GetElapsedTime(last).TotalMilliseconds <= _retry.RouteWaitMs)
        {
            return "";
        }

        var reasons = state.Nodes.Where(node => node.HealthReason.Length > 0)
            .Select(node => $"{node.Descriptor.NodeId}: {node.HealthReason}");
        return state.AwayReason.Length > 0
            ? state.AwayReason
            : string.Join("; ", reasons.Prepend("no worker is ready"));
    }

    private async Task WatchAsync()
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(_options.StatusIntervalMs), _time);
        try
        {
            do
            {
                await AskAsync().ConfigureAwait(false);
            }
            while (await timer.WaitForNextTickAsync(_stopping.Token).ConfigureAwait(false));
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            ClusterLog.WatchEnded(_logger, "The cluster");
        }
    }

    private async Task AskAsync()
    {
        var state = Refresh();
        await Task.WhenAll(state.Nodes.Where(node => node.Health != NodeHealth.Suspect).Select(AskAsync))
            .ConfigureAwait(false);
        _metrics.Retire(state.Nodes);
        var reason = NotReadyReason(state);
        var isReady = reason.Length == 0;
        if (isReady != _wasReady)
        {
            _wasReady = isReady;
            if (isReady)
            {
                ClusterLog.ClusterReady(_logger, state.Nodes.Count);
            }
            else
            {
                ClusterLog.WorkerAway(_logger, reason);
            }
        }
    }

    private async Task AskAsync(NodeState node)
    {
        try
        {
            var status = await _workers.StatusAsync(
                node.Descriptor.Address, TimeSpan.FromMilliseconds(_options.StatusTimeoutMs), _stopping.Token)
                .ConfigureAwait(false);
            _metrics.Update(node.Descriptor, status.Metrics);
        }
        catch (WorkerUnavailableException fault)
        {
            // Its last figures stand; whether it is there is the conductor's to say.
            ClusterLog.StatusMissing(_logger, node.Descriptor.NodeId, fault.Message);
        }
    }
}
