using Kimi.Mooncake.Protocol;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster.Contexts;

/// <summary>
/// The contexts in memory. Changes come as they stand in the journal, so that a table read back is the table there was.
/// Not safe for use by several threads at once.
/// </summary>
internal sealed class ContextTable
{
    private readonly Dictionary<string, KeptContext> _contexts = [];
    private readonly Dictionary<string, TenantContexts> _tenants = [];

    public int Count => _contexts.Count;

    /// <summary>Sum of the contexts' bytes.</summary>
    public long Bytes { get; private set; }

    /// <summary>Greatest sequence of any context or tag so far.</summary>
    public ulong LastSequence { get; private set; }

    /// <summary>All contexts, in no particular order.</summary>
    public IEnumerable<KeptContext> Contexts => _contexts.Values;

    /// <summary>A tenant's contexts and tags; null where it has neither.</summary>
    public TenantContexts? Of(string tenant) => _tenants.GetValueOrDefault(tenant);

    /// <summary>A tenant's context; null where it has none of that name.</summary>
    public KeptContext? Find(string tenant, string id) =>
        _contexts.TryGetValue(id, out var context) && context.Tenant == tenant ? context : null;

    /// <summary>A table as the changes that make it, oldest first.</summary>
    public IEnumerable<Wire.ContextChange> ToChanges() =>
    [
        .. _contexts.Values.OrderBy(context => context.Sequence)
            .Select(context => new Wire.ContextChange { Created = ContextMessages.ToMessage(context) }),
        .. _tenants.Values.SelectMany(tenant => tenant.Tags).OrderBy(tag => tag.Sequence)
            .Select(tag => new Wire.ContextChange { TagSet = ContextMessages.ToMessage(tag) }),
    ];

    /// <summary>Does what a record of the journal says.</summary>
    /// <param name="entry">The record.</param>
    /// <param name="areSomeMissing">
    /// Whether records before it are lost: changes of a context that is not there are then passed over.
    /// </param>
    /// <exception cref="InvalidDataException">It cannot be done to this table; the message says why.</exception>
    public void Apply(Wire.ContextJournalEntry entry, bool areSomeMissing = false)
    {
        foreach (var change in entry.Changes)
        {
            if (!areSomeMissing || NameOf(change) is not { } name || Find(name.Tenant, name.Id) is not null)
            {
                Apply(change);
            }
        }
    }

    /// <summary>Takes a context out that no record does.</summary>
    public void Forget(KeptContext context) => Remove(context);

    /// <summary>The context that must be there for a change; null where none must.</summary>
    private static (string Tenant, string Id)? NameOf(Wire.ContextChange change) => change.ChangeCase switch
    {
        Wire.ContextChange.ChangeOneofCase.Updated => (change.Updated.Tenant, change.Updated.Id),
        Wire.ContextChange.ChangeOneofCase.Deleted => (change.Deleted.Tenant, change.Deleted.Id),
        Wire.ContextChange.ChangeOneofCase.TagSet => (change.TagSet.Tenant, change.TagSet.ContextId),
        _ => null,
    };

    private void Apply(Wire.ContextChange change)
    {
        switch (change.ChangeCase)
        {
            case Wire.ContextChange.ChangeOneofCase.Created:
                Add(ContextMessages.ToContext(change.Created));
                break;
            case Wire.ContextChange.ChangeOneofCase.Updated:
                Replace(Updated(
                    Existing(change.Updated.Tenant, change.Updated.Id), ContextMessages.ToUpdate(change.Updated)));
                break;
            case Wire.ContextChange.ChangeOneofCase.Deleted:
                Remove(Existing(change.Deleted.Tenant, change.Deleted.Id));
                break;
            case Wire.ContextChange.ChangeOneofCase.TagSet:
                var tag = ContextMessages.ToTag(change.TagSet);
                Existing(tag.Tenant, tag.ContextId);
                Tenant(tag.Tenant).Set(tag);
                LastSequence = Math.Max(LastSequence, tag.Sequence);
                break;
            case Wire.ContextChange.ChangeOneofCase.TagDeleted:
                Of(change.TagDeleted.Tenant)?.Unset(change.TagDeleted.Tag);
                break;
            default:
                throw FieldCheck.Fault("change", "absent", "one of this version's changes");
        }
    }

    /// <summary>A context after a change.</summary>
    public static KeptContext Updated(KeptContext context, ContextUpdate update) => context with
    {
        Metadata = update.Metadata ?? context.Metadata,
        ExpiresUnixMs = update.ExpiresUnixMs ?? context.ExpiresUnixMs,
        State = update.State ?? context.State,
    };

    private void Add(KeptContext context)
    {
        if (!_contexts.TryAdd(context.Id, context))
        {
            throw FieldCheck.Fault("id", $"{context.Id}, which is there already", "another one");
        }

        Tenant(context.Tenant).Add(context);
        Bytes += context.Bytes;
        LastSequence = Math.Max(LastSequence, context.Sequence);
    }

    private void Replace(KeptContext context)
    {
        Bytes += context.Bytes - _contexts[context.Id].Bytes;
        _contexts[context.Id] = context;
        Tenant(context.Tenant).Replace(context);
    }

    private void Remove(KeptContext context)
    {
        _contexts.Remove(context.Id);
        Bytes -= context.Bytes;
        var tenant = Tenant(context.Tenant);
        tenant.Remove(context);
        if (tenant.IsEmpty)
        {
            _tenants.Remove(context.Tenant);
        }
    }

    private KeptContext Existing(string tenant, string id) => Find(tenant, id)
        ?? throw FieldCheck.Fault("id", $"{id}, which is not there", "a context of the tenant");

    private TenantContexts Tenant(string name)
    {
        if (!_tenants.TryGetValue(name, out var tenant))
        {
            tenant = new TenantContexts();
            _tenants.Add(name, tenant);
        }

        return tenant;
    }
}
