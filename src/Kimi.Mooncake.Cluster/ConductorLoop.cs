using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Protocol;
using Microsoft.Extensions.Logging;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster;

/// <summary>
/// The conductor of a process: its policy under one lock, a clock, and the way from its decisions to those who wait for
/// them.
/// </summary>
public sealed class ConductorLoop : IAsyncDisposable
{
    /// <summary>How often silence and waiting times are looked at, at least.</summary>
    private const double ExpireIntervalMsMax = 50;

    private readonly Lock _lock = new();
    private readonly ConductorCore _core;
    private readonly Dictionary<long, ConductorLease> _leases = [];
    private readonly Dictionary<MembershipId, ConductorMember> _members = [];
    private readonly ConductorOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly long _start;
    private readonly ITimer _timer;
    private bool _isClosed;

    /// <summary>A conductor without nodes.</summary>
    /// <param name="options">Bounds of the policy.</param>
    /// <param name="time">Clock.</param>
    /// <param name="logger">Is told who comes and goes.</param>
    /// <param name="replicas">How many store nodes keep a block; null for the defaults.</param>
    public ConductorLoop(
        ConductorOptions options, TimeProvider time, ILogger logger, ReplicaOptions? replicas = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(time);
        _options = options;
        _time = time;
        _logger = logger;
        _core = new ConductorCore(options, replicas);
        _start = time.GetTimestamp();

        // A longer interval than that of the loads would look like a pause of the conductor's own.
        var interval = TimeSpan.FromMilliseconds(Math.Min(ExpireIntervalMsMax, options.LoadIntervalMs / 2.0));
        _timer = time.CreateTimer(_ => Act(now => _core.Expire(now)), null, interval, interval);
    }

    private TimeSpan Now => _time.GetElapsedTime(_start);

    /// <summary>The nodes and the queue at this moment.</summary>
    public ClusterState State()
    {
        lock (_lock)
        {
            return new ClusterState(
                _core.Nodes(Now), _core.Waiting, _core.Routed, _core.DegradedReason(Now) ?? "", AwayReason: "");
        }
    }

    /// <summary>Counters of the policy, for <c>/metrics</c>.</summary>
    public ConductorCounters Counters()
    {
        lock (_lock)
        {
            return _core.Counters;
        }
    }

    /// <summary>Gives a node no more work.</summary>
    /// <param name="nodeId">Name of the node.</param>
    /// <returns>False when there is no such node.</returns>
    public bool Drain(string nodeId)
    {
        var isThere = false;
        Act(now =>
        {
            isThere = _core.Drain(nodeId, now);
            foreach (var member in _members.Values.Where(member => isThere && member.NodeId == nodeId))
            {
                member.Tell(DrainMessage());
            }
        });
        if (isThere)
        {
            ClusterLog.NodeDraining(_logger, nodeId);
        }

        return isThere;
    }

    /// <summary>How far a node's draining is; null when there is no such node.</summary>
    /// <param name="nodeId">Name of the node.</param>
    public DrainProgress? DrainOf(string nodeId)
    {
        lock (_lock)
        {
            return _core.DrainOf(nodeId);
        }
    }

    /// <summary>What is known of replicas at this moment.</summary>
    public ReplicaState Replicas()
    {
        lock (_lock)
        {
            return _core.Replicas;
        }
    }

    /// <summary>Ends every membership, and each that would begin; the nodes look for the next conductor.</summary>
    public ValueTask DisposeAsync()
    {
        lock (_lock)
        {
            _isClosed = true;
            foreach (var member in _members.Values)
            {
                member.End();
            }
        }

        return _timer.DisposeAsync();
    }

    internal RegistrationResult Register(NodeDescriptor node, out ConductorMember? member)
    {
        RegistrationResult result = default;
        ConductorMember? registered = null;
        Act(now =>
        {
            result = _core.Register(node, now);
            if (result.IsAccepted)
            {
                registered = new ConductorMember(result.Membership, node.NodeId);
                _members[result.Membership] = registered;
                if (_isClosed)
                {
                    registered.End();
                }

                registered.Tell(new Wire.ConductorMessage
                {
                    Accepted = new Wire.NodeAccepted { LoadIntervalMs = (uint)_options.LoadIntervalMs },
                });
                registered.Tell(StoreNodesMessage());
                if (_core.Nodes(now).Any(n => n.Descriptor.NodeId == node.NodeId && n.IsDraining))
                {
                    registered.Tell(DrainMessage());
                }
            }
        });
        member = registered;
        if (result.IsAccepted)
        {
            ClusterLog.NodeRegistered(_logger, node.NodeId, node.Roles, node.Address);
        }
        else
        {
            ClusterLog.NodeRefused(_logger, node.NodeId, node.Address, result.Message);
        }

        return result;
    }

    internal bool Heartbeat(ConductorMember member, NodeLoad load)
    {
        var isMember = false;
        Act(now => isMember = _core.Heartbeat(member.Id, load, now));
        return isMember;
    }

    internal void ReportReplicas(ConductorMember member, Wire.ReplicaReport report) => Act(now =>
        _core.ReportReplicas(
            member.Id, FieldCheck.LargeCount(report.Id, "replica_report.id"),
            FieldCheck.Count(report.Blocks, "replica_report.blocks"), report.Done, now));

    internal KvEventResult Apply(ConductorMember member, in KvEventBatch batch)
    {
        List<(ConductorLease Lease, ConductorEvent Event)>? lost;
        KvEventResult result;
        lock (_lock)
        {
            result = _core.Apply(member.Id, batch, Now);
            lost = TakeEvents();
        }

        Tell(lost);
        return result;
    }

    /// <summary>The connection broke; the node may come back.</summary>
    internal void Disconnect(ConductorMember member) => Act(now =>
    {
        _members.Remove(member.Id);
        _core.Disconnect(member.Id, now);
    });

    /// <summary>The node said that it goes.</summary>
    internal void Leave(ConductorMember member)
    {
        Act(now =>
        {
            _members.Remove(member.Id);
            _core.Leave(member.Id, now);
        });
        ClusterLog.NodeLeft(_logger, member.NodeId);
    }

    /// <summary>Asks for workers; the lease is decided later, or already.</summary>
    internal ConductorLease Submit(RouteQuery query)
    {
        var lease = new ConductorLease(this);
        Act(now =>
        {
            lease.Ticket = _core.Submit(query, now);
            _leases[lease.Ticket.Id] = lease;
        });
        return lease;
    }

    internal void Release(ConductorLease lease) => Act(now =>
    {
        _leases.Remove(lease.Ticket.Id);
        _core.Release(lease.Ticket, now);
    });

    /// <summary>Requests that have a lease or wait for one.</summary>
    internal int Leases
    {
        get
        {
            lock (_lock)
            {
                return _leases.Count;
            }
        }
    }

    private void Act(Action<TimeSpan> action)
    {
        List<(ConductorLease Lease, ConductorEvent Event)>? lost;
        lock (_lock)
        {
            action(Now);
            lost = TakeEvents();
        }

        Tell(lost);
    }

    /// <summary>Hands decisions out; those that run other code are left for after the lock.</summary>
    private List<(ConductorLease Lease, ConductorEvent Event)>? TakeEvents()
    {
        List<(ConductorLease Lease, ConductorEvent Event)>? lost = null;
        foreach (var next in _core.Events)
        {
            switch (next.Kind)
            {
                case ConductorEventKind.Routed or ConductorEventKind.Refused:
                    Decide(next.Ticket!);
                    break;
                case ConductorEventKind.NodeLost when _leases.TryGetValue(next.Ticket!.Id, out var lease):
                    (lost ??= []).Add((lease, next));
                    break;
                case ConductorEventKind.MembershipEnded:
                    EndMember(next);
                    break;
                case ConductorEventKind.StoreNodesChanged:
                    TellStoreNodes();
                    break;
                case ConductorEventKind.ReplicaOrdered when _members.TryGetValue(next.Membership, out var holder):
                    holder.Tell(ReplicaMessages.ToMessage(next.Order!));
                    break;
            }
        }

        _core.ClearEvents();
        return lost;
    }

    private static void Tell(List<(ConductorLease Lease, ConductorEvent Event)>? lost)
    {
        foreach (var (lease, next) in lost ?? [])
        {
            lease.Lose(next.NodeId, next.Reason);
        }
    }

    private void Decide(RouteTicket ticket)
    {
        if (_leases.TryGetValue(ticket.Id, out var lease))
        {
            lease.Decide();
        }
    }

    private void EndMember(in ConductorEvent ended)
    {
        ClusterLog.MembershipEnded(_logger, ended.NodeId, ended.Reason);
        if (_members.Remove(ended.Membership, out var member))
        {
            member.End();
        }
    }

    private void TellStoreNodes()
    {
        var message = StoreNodesMessage();
        foreach (var member in _members.Values)
        {
            member.Tell(message);
        }
    }

    private static Wire.ConductorMessage DrainMessage() => new() { Drain = new Wire.BeginDrain() };

    private Wire.ConductorMessage StoreNodesMessage() => ReplicaMessages.ToMessage(_core.StoreNodes);
}
