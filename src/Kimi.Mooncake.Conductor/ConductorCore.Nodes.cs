using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

// Membership: registration, heartbeats, draining, loss.
public sealed partial class ConductorCore
{
    /// <summary>
    /// A node joins, or comes back. One with the same epoch and address is the same process, and its requests go on;
    /// one with a greater epoch is another, and those of the earlier are lost. It gets work after its first load.
    /// </summary>
    /// <param name="node">What it says of itself.</param>
    /// <param name="now">The time.</param>
    public RegistrationResult Register(NodeDescriptor node, TimeSpan now)
    {
        ArgumentNullException.ThrowIfNull(node);
        var place = FindPlace(node.NodeId);
        var known = place >= 0 ? _nodes[place] : null;
        // A node that comes back may bring another model if it is the only one.
        var cluster = _nodes.Find(other => other != known)?.Descriptor.Model;
        var (refusal, message) = RegistrationRules.Check(node, known?.Descriptor, cluster);
        if (refusal == RegistrationRefusal.None && known is null && _freeSlots.Count == 0)
        {
            (refusal, message) = (RegistrationRefusal.ClusterFull,
                $"{_options.NodesMax} nodes are registered, as many as may be");
        }

        if (refusal != RegistrationRefusal.None)
        {
            _counters.RegistrationsRefused++;
            return new RegistrationResult(default, refusal, message);
        }

        if (known is not null && known.Descriptor.Epoch != node.Epoch)
        {
            Remove(known, $"node {node.NodeId} was started again");
            known = null;
        }

        if (known is null)
        {
            known = new ClusterNode(node, _freeSlots.Pop());
            _nodes.Insert(~FindPlace(node.NodeId), known);
        }
        else
        {
            EndMembership(known, $"node {node.NodeId} registered again");
            _index.RemoveNode(known.Slot);
            known.Rejoin(node);
        }

        known.Membership = new MembershipId(++_lastMembership);
        known.LastSeen = now;
        _members.Add(known.Membership, known);
        UpdateStoreNodes(now);
        return new RegistrationResult(known.Membership, RegistrationRefusal.None, "");
    }

    /// <summary>A node reports its load.</summary>
    /// <param name="membership">From its registration.</param>
    /// <param name="load">Its load.</param>
    /// <param name="now">The time.</param>
    /// <returns>False when it is no member any more and must register again.</returns>
    public bool Heartbeat(MembershipId membership, NodeLoad load, TimeSpan now)
    {
        ArgumentNullException.ThrowIfNull(load);
        if (!_members.TryGetValue(membership, out var node))
        {
            return false;
        }

        node.LastSeen = now;
        node.IsSuspect = false;
        node.Report(load, now, TimeSpan.FromMilliseconds(_options.LoadDelayMs));
        UpdateStoreNodes(now);
        Place(now);
        return true;
    }

    /// <summary>
    /// A node's connection broke: it gets no new work. Its requests hear that it is lost when it stays away longer than
    /// <see cref="ConductorOptions.SuspectAfterMs"/> since it was last heard of.
    /// </summary>
    /// <param name="membership">From its registration; an earlier one's end changes nothing.</param>
    /// <param name="now">The time.</param>
    public void Disconnect(MembershipId membership, TimeSpan now)
    {
        if (_members.Remove(membership, out var node))
        {
            node.Membership = default;
            UpdateStoreNodes(now);
        }
    }

    /// <summary>A node leaves; requests that it still has are lost at once.</summary>
    /// <param name="membership">From its registration; an earlier one's end changes nothing.</param>
    /// <param name="now">The time.</param>
    public void Leave(MembershipId membership, TimeSpan now)
    {
        if (_members.Remove(membership, out var node))
        {
            node.Membership = default;
            Remove(node, $"node {node.Id} left");
            UpdateStoreNodes(now);
        }
    }

    /// <summary>Gives a node no more work. Telling it so is the caller's.</summary>
    /// <param name="nodeId">Its name.</param>
    /// <param name="now">The time.</param>
    /// <returns>False when there is no such node.</returns>
    public bool Drain(string nodeId, TimeSpan now)
    {
        var place = FindPlace(nodeId);
        if (place < 0)
        {
            return false;
        }

        _nodes[place].BeginDrain();
        UpdateStoreNodes(now);
        return true;
    }

    /// <summary>How far the draining of a node is, as its last load and its tickets tell.</summary>
    /// <param name="nodeId">Its name.</param>
    /// <returns>Null when there is no such node, or not any more.</returns>
    public DrainProgress? DrainOf(string nodeId) =>
        FindPlace(nodeId) is var place and >= 0 ? _nodes[place].Drain() : null;

    /// <summary>All registered nodes, by name.</summary>
    /// <param name="now">The time.</param>
    public IReadOnlyList<NodeState> Nodes(TimeSpan now) => _nodes.ConvertAll(node => StateOf(node, now));

    /// <summary>The role that no usable node has; null when every role of a worker is filled.</summary>
    /// <param name="now">The time.</param>
    public string? DegradedReason(TimeSpan now)
    {
        var roles = NodeRoles.None;
        foreach (var node in _nodes)
        {
            roles |= node.IsUsable(now, _suspectAfter) ? node.Descriptor.Roles : NodeRoles.None;
        }

        return (roles & (NodeRoles.Prefill | NodeRoles.Decode)) switch
        {
            NodeRoles.None => "no worker is ready",
            NodeRoles.Prefill => "no decode worker is ready: prefill workers generate too",
            NodeRoles.Decode => "no prefill worker is ready: decode workers prefill too",
            _ => null,
        };
    }

    private void ExpireNodes(TimeSpan now)
    {
        ForgiveOwnPause(now);
        var expireAfter = TimeSpan.FromMilliseconds(_options.ExpireAfterMs);
        for (var place = _nodes.Count - 1; place >= 0; place--)
        {
            var node = _nodes[place];
            var silent = now - node.LastSeen;
            if (silent >= _suspectAfter)
            {
                Suspect(node, $"node {node.Id} has been silent for {silent.TotalMilliseconds:0} ms");
            }

            if (silent >= expireAfter)
            {
                Remove(node, $"node {node.Id} has been silent for {silent.TotalMilliseconds:0} ms");
            }
        }

        UpdateStoreNodes(now);
    }

    // While the conductor itself stood still nobody was heard: that silence is not the nodes'.
    private void ForgiveOwnPause(TimeSpan now)
    {
        var pause = now - (_lastExpired ?? now) - TimeSpan.FromMilliseconds(_options.LoadIntervalMs);
        _lastExpired = now;
        if (pause <= TimeSpan.Zero)
        {
            return;
        }

        foreach (var node in _nodes)
        {
            node.LastSeen = now - node.LastSeen > pause ? node.LastSeen + pause : now;
        }
    }

    private void Suspect(ClusterNode node, string reason)
    {
        if (node.IsSuspect)
        {
            return;
        }

        node.IsSuspect = true;
        _counters.NodesLost++;
        var tickets = node.Tickets.Values.ToArray();
        Array.Sort(tickets, (one, other) => one.Id.CompareTo(other.Id));
        foreach (var ticket in tickets)
        {
            var isTold = ticket.Decoding == node ? ticket.IsDecodingLost : ticket.IsPrefillingLost;
            ticket.IsDecodingLost |= ticket.Decoding == node;
            ticket.IsPrefillingLost |= ticket.Prefilling == node;
            if (!isTold)
            {
                Raise(ConductorEventKind.NodeLost, ticket, node.Id, reason);
            }
        }
    }

    private void Remove(ClusterNode node, string reason)
    {
        Suspect(node, reason);
        EndMembership(node, reason);
        foreach (var ticket in node.Tickets.Values.ToArray())
        {
            node.Remove(ticket);
            ticket.Decoding = ticket.Decoding == node ? null : ticket.Decoding;
            ticket.Prefilling = ticket.Prefilling == node ? null : ticket.Prefilling;
        }

        _index.RemoveNode(node.Slot);
        _flights.RemoveNode(node.Slot);
        _nodes.Remove(node);
        _freeSlots.Push(node.Slot);
    }

    private void EndMembership(ClusterNode node, string reason)
    {
        if (_members.Remove(node.Membership))
        {
            _events.Add(new ConductorEvent(
                ConductorEventKind.MembershipEnded, null, node.Membership, node.Id, reason));
            node.Membership = default;
        }
    }

    private void UpdateStoreNodes(TimeSpan now)
    {
        var isSame = true;
        var count = 0;
        foreach (var node in _nodes)
        {
            if (node.Has(NodeRoles.Store) && node.IsUsable(now, _suspectAfter))
            {
                isSame &= count < _storeNodes.Count && _storeNodes[count] == node.Address;
                count++;
            }
        }

        if (isSame && count == _storeNodes.Count)
        {
            return;
        }

        var storeNodes = _nodes.FindAll(node => node.Has(NodeRoles.Store) && node.IsUsable(now, _suspectAfter));
        _storeNodes = storeNodes.ConvertAll(node => node.Address);
        Raise(ConductorEventKind.StoreNodesChanged, null);
        _replicas.SetTargets(storeNodes, now);
        PlanReplicas(now);
    }

    private NodeState StateOf(ClusterNode node, TimeSpan now)
    {
        var reason = node.Load switch
        {
            _ when now - node.LastSeen >= _suspectAfter => "its heartbeats are missing",
            _ when node.Membership == default => "its connection broke",
            null => "its first load has not come",
            { Ready: false } load => load.NotReadyReason.Length > 0 ? load.NotReadyReason : "it is not ready",
            _ => "",
        };
        var isDraining = node.IsDraining || node.Load is { Draining: true };
        var health = reason.Length > 0 ? NodeHealth.Suspect : isDraining ? NodeHealth.Draining : NodeHealth.Ready;
        return new NodeState(
            node.Descriptor, node.Load, node.Tickets.Count, _index.CountOf(node.Slot), now - node.LastSeen, health,
            reason.Length > 0 ? reason : isDraining ? "it is being drained" : "")
        {
            IsDraining = isDraining,
        };
    }

    // The complement of the place to insert at, when there is no such node.
    private int FindPlace(string nodeId)
    {
        var (low, high) = (0, _nodes.Count - 1);
        while (low <= high)
        {
            var middle = (low + high) / 2;
            var order = string.CompareOrdinal(_nodes[middle].Id, nodeId);
            if (order == 0)
            {
                return middle;
            }

            (low, high) = order < 0 ? (middle + 1, high) : (low, middle - 1);
        }

        return ~low;
    }
}
