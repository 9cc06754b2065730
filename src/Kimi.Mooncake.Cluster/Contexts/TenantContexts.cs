namespace Kimi.Mooncake.Cluster.Contexts;

/// <summary>One tenant's contexts and tags, in the order in which they came.</summary>
internal sealed class TenantContexts
{
    private readonly SortedDictionary<ulong, KeptContext> _contexts = [];
    private readonly Dictionary<string, ContextTag> _tags = [];

    public int Count => _contexts.Count;

    public int TagCount => _tags.Count;

    public bool IsEmpty => _contexts.Count == 0 && _tags.Count == 0;

    /// <summary>Sum of the contexts' bytes.</summary>
    public long Bytes { get; private set; }

    /// <summary>Contexts, oldest first.</summary>
    public IEnumerable<KeptContext> Contexts => _contexts.Values;

    /// <summary>Tags, oldest first.</summary>
    public IEnumerable<ContextTag> Tags => _tags.Values.OrderBy(tag => tag.Sequence);

    public ContextTag? Tag(string name) => _tags.GetValueOrDefault(name);

    public void Add(KeptContext context)
    {
        _contexts.Add(context.Sequence, context);
        Bytes += context.Bytes;
    }

    public void Replace(KeptContext context)
    {
        Bytes += context.Bytes - _contexts[context.Sequence].Bytes;
        _contexts[context.Sequence] = context;
    }

    /// <summary>Takes a context out, and the tags that point to it.</summary>
    public void Remove(KeptContext context)
    {
        _contexts.Remove(context.Sequence);
        Bytes -= context.Bytes;
        foreach (var tag in _tags.Values.Where(tag => tag.ContextId == context.Id).ToList())
        {
            _tags.Remove(tag.Tag);
        }
    }

    public void Set(ContextTag tag) => _tags[tag.Tag] = tag;

    public void Unset(string tag) => _tags.Remove(tag);
}
