namespace Kimi.Mooncake.Conductor;

/// <summary>
/// Tickets that wait for workers: by arrival within a tenant, and in turn between tenants. The tenant that was served
/// goes to the end of the row.
/// </summary>
internal sealed class AdmissionQueue
{
    private readonly Dictionary<string, LinkedListNode<TenantQueue>> _tenants = new(StringComparer.Ordinal);
    private readonly LinkedList<TenantQueue> _row = new();

    public int Count { get; private set; }

    /// <summary>Tenants with tickets, the next one to be served first.</summary>
    public LinkedListNode<TenantQueue>? First => _row.First;

    public void Add(RouteTicket ticket)
    {
        if (!_tenants.TryGetValue(ticket.Query.Tenant, out var tenant))
        {
            tenant = _row.AddLast(new TenantQueue(ticket.Query.Tenant));
            _tenants.Add(ticket.Query.Tenant, tenant);
        }

        ticket.Place = tenant.Value.Tickets.AddLast(ticket);
        Count++;
    }

    /// <summary>Takes a ticket out; nothing happens if it does not wait.</summary>
    public void Remove(RouteTicket ticket)
    {
        if (ticket.Place is not { List: not null } place)
        {
            return;
        }

        var tenant = _tenants[ticket.Query.Tenant];
        tenant.Value.Tickets.Remove(place);
        ticket.Place = null;
        Count--;
        if (tenant.Value.Tickets.Count == 0)
        {
            _row.Remove(tenant);
            _tenants.Remove(ticket.Query.Tenant);
        }
    }

    /// <summary>Takes a ticket out that was served.</summary>
    public void Serve(RouteTicket ticket)
    {
        var tenant = _tenants[ticket.Query.Tenant];
        Remove(ticket);
        if (tenant.List is not null)
        {
            _row.Remove(tenant);
            _row.AddLast(tenant);
        }
    }
}

/// <summary>The waiting tickets of one tenant, by arrival.</summary>
internal sealed record TenantQueue(string Tenant)
{
    public LinkedList<RouteTicket> Tickets { get; } = new();
}
