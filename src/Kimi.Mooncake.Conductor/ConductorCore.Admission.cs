using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Conductor;

// Tickets: the queue, placement, refusal, release.
public sealed partial class ConductorCore
{
    // Tickets tried for a place after one event; those behind come next time. Bounds the time of a call.
    private const int PlacementAttemptsMax = 64;

    /// <summary>Asks for workers. The answer is an event, perhaps raised by this very call.</summary>
    /// <param name="query">What is wanted.</param>
    /// <param name="now">The time.</param>
    /// <returns>The ticket; <see cref="Release"/> it when the request ends, whatever came of it.</returns>
    /// <exception cref="ArgumentException">A field is out of its range.</exception>
    public RouteTicket Submit(RouteQuery query, TimeSpan now)
    {
        ArgumentNullException.ThrowIfNull(query);
        if (query.PromptTokens < 1 || query.SequenceTokensMax < query.PromptTokens
            || query.BlockKeys.Length > query.PromptTokens
            || query.ContextBlocks < 0 || query.ContextBlocks > query.BlockKeys.Length)
        {
            throw new ArgumentException(
                $"{query.PromptTokens} prompt tokens, {query.SequenceTokensMax} in all, {query.BlockKeys.Length} "
                + $"block keys and {query.ContextBlocks} blocks of a context: expected at least 1 token, no fewer in "
                + "all, no more keys than tokens, and no more blocks of a context than keys",
                nameof(query));
        }

        var ticket = new RouteTicket(++_lastTicket, query, now);
        _counters.Submitted++;
        var tokensMax = SequenceTokensMax();
        if (tokensMax is { } max && query.SequenceTokensMax > max)
        {
            _counters.RefusedTooLong++;
            Refuse(ticket, RouteRefusalReason.TooLong, TimeSpan.Zero, query.SequenceTokensMax, max,
                $"{query.SequenceTokensMax} tokens fit no worker's pool; the largest holds {max}");
        }
        else if (_queue.Count >= _options.QueueRequestsMax)
        {
            _counters.RefusedQueueFull++;
            Refuse(ticket, RouteRefusalReason.QueueFull, RetryAfter(now), _queue.Count, _options.QueueRequestsMax,
                $"{_queue.Count} requests wait for workers, as many as may");
        }
        else
        {
            _queue.Add(ticket);
            ticket.WorklessSince = HasWorker(ticket, now) ? null : now;
            Place(now);
        }

        return ticket;
    }

    /// <summary>Gives a ticket back, with everything that it takes; a second time does nothing.</summary>
    /// <param name="ticket">The ticket.</param>
    /// <param name="now">The time.</param>
    public void Release(RouteTicket ticket, TimeSpan now)
    {
        ArgumentNullException.ThrowIfNull(ticket);
        switch (ticket.State)
        {
            case RouteState.Waiting:
                _queue.Remove(ticket);
                _counters.Abandoned++;
                break;
            case RouteState.Routed:
                _flights.End(ticket);
                ticket.Decoding?.Remove(ticket);
                if (ticket.Prefilling != ticket.Decoding)
                {
                    ticket.Prefilling?.Remove(ticket);
                }

                Routed--;
                break;
            default:
                return;
        }

        ticket.State = RouteState.Released;
        (ticket.Decoding, ticket.Prefilling) = (null, null);
        Place(now);
    }

    /// <summary>
    /// What time brings: silent nodes are suspected and forgotten, long waits end. To be called at least once within
    /// each <see cref="ConductorOptions.LoadIntervalMs"/>: a longer pause counts as the conductor's own, and no node is
    /// blamed for it.
    /// </summary>
    /// <param name="now">The time.</param>
    public void Expire(TimeSpan now)
    {
        ExpireNodes(now);
        PlanReplicas(now);
        Place(now);
        var queueTimeout = TimeSpan.FromMilliseconds(_options.QueueTimeoutMs);
        var grace = TimeSpan.FromMilliseconds(_options.NoWorkerGraceMs);
        for (var tenant = _queue.First; tenant is not null;)
        {
            // Refusing the last ticket of a tenant takes the tenant out of the row.
            var next = tenant.Next;
            for (var place = tenant.Value.Tickets.First; place is not null;)
            {
                var ticket = place.Value;
                place = place.Next;
                ticket.WorklessSince = HasWorker(ticket, now) ? null : ticket.WorklessSince ?? now;
                if (now - ticket.Submitted >= queueTimeout)
                {
                    RefuseTimeout(ticket, now);
                }
                else if (now - ticket.WorklessSince >= grace)
                {
                    RefuseNoWorker(ticket, now);
                }
            }

            tenant = next;
        }
    }

    // Most tokens that a pool of those that decode can hold; null when no worker is registered.
    private int? SequenceTokensMax()
    {
        var role = _nodes.Exists(node => node.Has(NodeRoles.Decode)) ? NodeRoles.Decode : NodeRoles.Prefill;
        var max = default(int?);
        foreach (var node in _nodes)
        {
            if (node.Has(role))
            {
                var tokens = (long)node.Descriptor.BlocksTotal * node.Descriptor.Model.KvLayout.BlockTokens;
                max = Math.Max(max ?? 0, (int)Math.Min(tokens, int.MaxValue));
            }
        }

        return max;
    }

    private bool HasWorker(RouteTicket ticket, TimeSpan now) =>
        _selector.DecodeRole(ticket, _nodes, now) != NodeRoles.None;

    // Gives workers to waiting tickets as long as there is room.
    private void Place(TimeSpan now)
    {
        for (var attempts = 0; _queue.Count > 0 && Routed < _options.RoutedRequestsMax;)
        {
            if (!PlaceNext(now, ref attempts))
            {
                return;
            }
        }
    }

    private bool PlaceNext(TimeSpan now, ref int attempts)
    {
        for (var tenant = _queue.First; tenant is not null; tenant = tenant.Next)
        {
            foreach (var ticket in tenant.Value.Tickets)
            {
                if (++attempts > PlacementAttemptsMax)
                {
                    return false;
                }

                var result = _selector.Select(ticket, _nodes, now, out var selection);
                if (result == SelectionResult.Selected)
                {
                    _queue.Serve(ticket);
                    Route(ticket, selection, now);
                    return true;
                }

                // Those behind one that no node could serve may pass it; behind one that finds no room, others may for
                // a while, so that it neither blocks them all nor starves.
                if (result == SelectionResult.Full)
                {
                    if (now - ticket.Submitted >= TimeSpan.FromMilliseconds(_options.PassingMs))
                    {
                        return false;
                    }

                    break;
                }
            }
        }

        return false;
    }

    private void Route(RouteTicket ticket, in Selection selection, TimeSpan now)
    {
        var (decode, prefill) = (selection.Decode, selection.Prefill);
        ticket.State = RouteState.Routed;
        ticket.RoutedAt = now;
        ticket.Decoding = decode.Node;
        ticket.Prefilling = prefill.Node;
        var tokens = ticket.Query.PromptTokens - prefill.FromToken;
        ticket.Demand = new RouteDemand(decode.Blocks, tokens, prefill.Seconds + prefill.PullSeconds);
        ticket.Pair = new WorkerPair(
            decode.Node.Address,
            prefill.Node == decode.Node ? null : prefill.Node.Address,
            prefill.Source?.Address,
            prefill.SourceBlocks,
            selection.TtftSeconds,
            selection.IsDegraded);
        decode.Node.Add(ticket);
        if (prefill.Node != decode.Node)
        {
            prefill.Node.Add(ticket);
        }

        prefill.Node.NotePrefill(prefill.FromToken, ticket.Query.PromptTokens);
        _flights.Begin(ticket, selection.FlightFrom, prefill.Node.Slot, IsUsable(now));
        _replicas.Heat.Touch(ticket.Query.BlockKeys.Span, ticket.Query.ContextBlocks, now);
        Routed++;
        _rate.Add(now);
        _counters.Routed++;
        _counters.RoutedLocal += prefill.Node == decode.Node ? 1 : 0;
        _counters.RoutedJoined += selection.IsJoined ? 1 : 0;
        _counters.RoutedWithSource += prefill.Source is null ? 0 : 1;
        _counters.RoutedDegraded += selection.IsDegraded ? 1 : 0;
        Raise(ConductorEventKind.Routed, ticket);
    }

    private Func<int, bool> IsUsable(TimeSpan now) =>
        slot => _nodes.Exists(node => node.Slot == slot && node.IsUsable(now, _suspectAfter));

    private void RefuseTimeout(RouteTicket ticket, TimeSpan now)
    {
        _queue.Remove(ticket);
        _counters.RefusedQueueTimeout++;
        var waited = (int)(now - ticket.Submitted).TotalMilliseconds;
        Refuse(ticket, RouteRefusalReason.QueueTimeout, RetryAfter(now), waited, _options.QueueTimeoutMs,
            $"waited {waited} ms for workers, as long as may be");
    }

    private void RefuseNoWorker(RouteTicket ticket, TimeSpan now)
    {
        _queue.Remove(ticket);
        _counters.RefusedNoWorker++;
        var waited = (int)(now - ticket.WorklessSince!.Value).TotalMilliseconds;
        Refuse(ticket, RouteRefusalReason.NoWorker, TimeSpan.FromMilliseconds(_options.RetryAfterMsMin), waited,
            _options.NoWorkerGraceMs,
            $"{DegradedReason(now) ?? "each worker that is ready has failed it or is too small"}; waited {waited} ms");
    }

    private TimeSpan RetryAfter(TimeSpan now) => _rate.RetryAfter(
        _queue.Count, now, TimeSpan.FromMilliseconds(_options.RetryAfterMsMin),
        TimeSpan.FromMilliseconds(_options.RetryAfterMsMax));

    private void Refuse(
        RouteTicket ticket, RouteRefusalReason reason, TimeSpan retryAfter, int value, int valueMax, string message)
    {
        ticket.State = RouteState.Refused;
        ticket.Refusal = new RouteRefusal(reason, retryAfter, value, valueMax, message);
        Raise(ConductorEventKind.Refused, ticket);
    }
}
