using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

/// <summary>
/// Chooses the workers of a request. A decode worker is measured by its load and by the transfer of what it lacks; the
/// best of them are weighed against every worker that could prefill, themselves included, and the pair with the
/// shortest way to the first token wins; among equals, the one whose names come first.
/// </summary>
internal sealed class PairSelector(ConductorOptions options, PrefixIndex index, SingleFlight flights)
{
    private readonly int[] _lengths = new int[options.NodesMax];
    private readonly List<DecodeOption> _decodes = [];
    private readonly List<PrefillOption> _prefills = [];
    private readonly TimeSpan _suspectAfter = TimeSpan.FromMilliseconds(options.SuspectAfterMs);

    /// <summary>Chooses workers, if there are any with room.</summary>
    /// <param name="ticket">Who asks.</param>
    /// <param name="nodes">All nodes, by name.</param>
    /// <param name="now">The time.</param>
    /// <param name="selection">The choice; default unless it was made.</param>
    public SelectionResult Select(
        RouteTicket ticket, List<ClusterNode> nodes, TimeSpan now, out Selection selection)
    {
        selection = default;
        var role = DecodeRole(ticket, nodes, now);
        if (role == NodeRoles.None)
        {
            return SelectionResult.NoWorker;
        }

        var prompt = Prompt.Of(ticket.Query, nodes[0].Descriptor.Model.KvLayout);
        if (!HasRoomWithFullCache(ticket, nodes, role, prompt, now))
        {
            return SelectionResult.Full;
        }

        index.Match(ticket.Query.BlockKeys.Span, _lengths);
        CollectDecodes(ticket, nodes, role, prompt, now);
        if (_decodes.Count == 0)
        {
            return SelectionResult.Full;
        }

        var source = BestSource(ticket, nodes, now);
        var flight = FindFlight(ticket, prompt, source);
        CollectPrefills(ticket, nodes, role, prompt, source, flight, now);
        selection = Best(prompt, source, flight, role);
        return SelectionResult.Selected;
    }

    /// <summary>
    /// The role of the nodes that may decode for a ticket: prefill workers stand in where no decode worker is there.
    /// </summary>
    /// <returns><see cref="NodeRoles.None"/> when no node is there that could ever serve it.</returns>
    public NodeRoles DecodeRole(RouteTicket ticket, List<ClusterNode> nodes, TimeSpan now)
    {
        var role = NodeRoles.None;
        foreach (var node in nodes)
        {
            if (node.Has(NodeRoles.Decode | NodeRoles.Prefill) && MayTake(ticket, node, now)
                && BlocksOf(ticket.Query.SequenceTokensMax, node) <= node.Descriptor.BlocksTotal)
            {
                if (node.Has(NodeRoles.Decode))
                {
                    return NodeRoles.Decode;
                }

                role = NodeRoles.Prefill;
            }
        }

        return role;
    }

    /// <summary>Blocks that <paramref name="tokens"/> take on a node.</summary>
    public static int BlocksOf(int tokens, ClusterNode node)
    {
        var blockTokens = node.Descriptor.Model.KvLayout.BlockTokens;
        return (int)(((long)tokens + blockTokens - 1) / blockTokens);
    }

    private bool MayTake(RouteTicket ticket, ClusterNode node, TimeSpan now) =>
        node.IsUsable(now, _suspectAfter) && !ticket.Excludes(node.Id);

    private bool MayDecode(RouteTicket ticket, ClusterNode node, NodeRoles role, TimeSpan now) =>
        node.Has(role) && MayTake(ticket, node, now)
        && BlocksOf(ticket.Query.SequenceTokensMax, node) <= node.Descriptor.BlocksTotal
        && node.Sequences < node.Descriptor.SequencesMax;

    // Cheap, and enough to see that nothing can be placed while all workers are full.
    private bool HasRoomWithFullCache(
        RouteTicket ticket, List<ClusterNode> nodes, NodeRoles role, in Prompt prompt, TimeSpan now)
    {
        foreach (var node in nodes)
        {
            if (MayDecode(ticket, node, role, now)
                && prompt.BlocksTaken - ticket.Query.BlockKeys.Length <= node.BlocksAvailable)
            {
                return true;
            }
        }

        return false;
    }

    private void CollectDecodes(
        RouteTicket ticket, List<ClusterNode> nodes, NodeRoles role, in Prompt prompt, TimeSpan now)
    {
        _decodes.Clear();
        foreach (var node in nodes)
        {
            // What it has of the prompt is shared, not taken.
            var blocks = prompt.BlocksTaken - _lengths[node.Slot];
            if (!MayDecode(ticket, node, role, now) || blocks > node.BlocksAvailable)
            {
                continue;
            }

            var penalty = options.DecodeLoadSeconds * LoadShare(node);
            var transfer = prompt.Bytes(prompt.Cached(_lengths[node.Slot]), prompt.Tokens) / BytesPerSecond(node);
            Insert(new DecodeOption(node, blocks, penalty, transfer));
        }
    }

    // Keeps the candidates sorted, and no more of them than may be.
    private void Insert(in DecodeOption option)
    {
        var place = _decodes.Count;
        while (place > 0 && option.Bound < _decodes[place - 1].Bound)
        {
            place--;
        }

        if (place < options.DecodeCandidatesMax)
        {
            if (_decodes.Count == options.DecodeCandidatesMax)
            {
                _decodes.RemoveAt(_decodes.Count - 1);
            }

            _decodes.Insert(place, option);
        }
    }

    private double LoadShare(ClusterNode node)
    {
        var load = node.Load!;
        var bySequences = (double)node.Sequences / node.Descriptor.SequencesMax;
        var byMemory = (double)node.BlocksTaken / node.Descriptor.BlocksTotal;
        var byTime = load.Running > 0 ? Positive(load.DecodeStepSeconds, 0) / options.DecodeStepSecondsFull : 0;
        return Math.Min(1, Math.Max(bySequences, Math.Max(byMemory, byTime)));
    }

    private double BytesPerSecond(ClusterNode node) =>
        Positive(node.Load!.TransferBytesPerSecond, options.TransferBytesPerSecondDefault);

    private static double Positive(double value, double otherwise) =>
        value > 0 && double.IsFinite(value) ? value : otherwise;

    private PrefillCost CostOf(ClusterNode node) => node.Load!.PrefillCost.IsKnown
        ? node.Load.PrefillCost
        : new PrefillCost(0, options.PrefillTokenSecondsDefault, 0, 0);

    private ClusterNode? BestSource(RouteTicket ticket, List<ClusterNode> nodes, TimeSpan now)
    {
        ClusterNode? best = null;
        foreach (var node in nodes)
        {
            if (_lengths[node.Slot] > 0 && node.IsAlive(now, _suspectAfter) && !ticket.Excludes(node.Id)
                && (best is null || IsBetterSource(node, best)))
            {
                best = node;
            }
        }

        return best;
    }

    private bool IsBetterSource(ClusterNode node, ClusterNode best) => _lengths[node.Slot] != _lengths[best.Slot]
        ? _lengths[node.Slot] > _lengths[best.Slot]
        : node.Tickets.Count < best.Tickets.Count;

    private Flight FindFlight(RouteTicket ticket, in Prompt prompt, ClusterNode? source)
    {
        var from = source is null ? 0 : _lengths[source.Slot];
        var count = flights.Match(ticket.Query.BlockKeys.Span, from, out var slot);
        var computed = prompt.Cached(from + count) - prompt.Cached(from);
        var isWorthIt = computed >= options.SingleFlightTokensMin
            || (computed > 0 && computed * 2L >= prompt.Tokens - prompt.Cached(from));
        return new Flight(from, from + count, isWorthIt ? slot : -1);
    }

    private void CollectPrefills(
        RouteTicket ticket, List<ClusterNode> nodes, NodeRoles role, in Prompt prompt, ClusterNode? source,
        Flight flight, TimeSpan now)
    {
        _prefills.Clear();
        foreach (var node in nodes)
        {
            if (role == NodeRoles.Decode && node.Has(NodeRoles.Prefill) && MayTake(ticket, node, now)
                && BlocksOf(prompt.Tokens, node) <= node.Descriptor.BlocksTotal)
            {
                _prefills.Add(Prefill(node, prompt, source, flight));
            }
        }
    }

    private PrefillOption Prefill(ClusterNode node, in Prompt prompt, ClusterNode? source, Flight flight)
    {
        var cost = CostOf(node);
        var own = prompt.Cached(_lengths[node.Slot]);
        var isSourceLonger = source is not null && source != node && _lengths[source.Slot] > _lengths[node.Slot];
        var from = own;
        var seconds = cost.Seconds(own, prompt.Tokens);
        var pull = 0d;
        var pulled = default(ClusterNode);
        if (node.Slot == flight.Slot)
        {
            // The engine there waits for what it is already computing; that time is part of its queue.
            from = Math.Max(from, prompt.Cached(flight.To));
            seconds = cost.Seconds(from, prompt.Tokens);
            pulled = isSourceLonger ? source : null;
        }
        else if (isSourceLonger)
        {
            var there = prompt.Cached(_lengths[source!.Slot]);
            var pulling = options.HandOverSeconds + prompt.Bytes(own, there) / BytesPerSecond(node);
            var rest = cost.Seconds(there, prompt.Tokens);
            if (pulling + rest < seconds)
            {
                (from, seconds, pull, pulled) = (there, rest, pulling, source);
            }
        }

        var queued = Math.Max(0, node.Load!.QueuedPrefillTokens)
            * (cost.TokenSeconds + cost.PairSeconds * node.MeanContext);
        var running = node.Has(NodeRoles.Decode) ? node.Sequences : 0;
        var interference = options.InterferenceWeight * running * seconds;
        return new PrefillOption(
            node, queued + node.AddedPrefillSeconds + pull, seconds, interference, from, pull, pulled,
            pulled is null ? 0 : _lengths[pulled.Slot]);
    }

    private Selection Best(in Prompt prompt, ClusterNode? source, Flight flight, NodeRoles role)
    {
        var onlySlot = SlotToJoin(flight);
        var best = default(Selection);
        var bestScore = double.PositiveInfinity;
        foreach (var decode in _decodes)
        {
            var local = Prefill(decode.Node, prompt, source, flight);
            if (onlySlot < 0 ? IsLocalAllowed(decode.Node, local) : decode.Node.Slot == onlySlot)
            {
                Consider(decode, local, local.ReadySeconds + local.Seconds);
            }

            foreach (var prefill in _prefills)
            {
                if (prefill.Node != decode.Node && (onlySlot < 0 || prefill.Node.Slot == onlySlot))
                {
                    // Layers travel while later ones are computed: only what takes longer is waited for.
                    var late = Math.Max(0, decode.TransferSeconds - prefill.Seconds);
                    Consider(decode, prefill, prefill.ReadySeconds + prefill.Seconds + late + options.HandOverSeconds);
                }
            }
        }

        return best with
        {
            IsDegraded = role != NodeRoles.Decode
                || (_prefills.Count == 0 && !best.Prefill.Node.Has(NodeRoles.Prefill)),
            FlightFrom = flight.From,
            IsJoined = onlySlot >= 0,
        };

        void Consider(in DecodeOption decode, in PrefillOption prefill, double ttft)
        {
            var score = ttft + decode.PenaltySeconds + prefill.InterferenceSeconds;
            if (score < bestScore || (score == bestScore && IsBefore(decode, prefill, best)))
            {
                bestScore = score;
                best = new Selection(decode, prefill, ttft);
            }
        }
    }

    // The node that computes the missing blocks already, if it can take this request too; otherwise -1.
    private int SlotToJoin(Flight flight)
    {
        for (var index = 0; index < _prefills.Count; index++)
        {
            if (_prefills[index].Node.Slot == flight.Slot)
            {
                return flight.Slot;
            }
        }

        for (var index = 0; index < _decodes.Count; index++)
        {
            if (_decodes[index].Node.Slot == flight.Slot)
            {
                return flight.Slot;
            }
        }

        return -1;
    }

    private bool IsLocalAllowed(ClusterNode node, in PrefillOption local) =>
        _prefills.Count == 0 || node.Has(NodeRoles.Prefill) || local.Seconds <= options.LocalPrefillSecondsMax;

    private static bool IsBefore(in DecodeOption decode, in PrefillOption prefill, in Selection best)
    {
        var order = string.CompareOrdinal(decode.Node.Id, best.Decode.Node.Id);
        return order < 0 || (order == 0 && string.CompareOrdinal(prefill.Node.Id, best.Prefill.Node.Id) < 0);
    }
}
