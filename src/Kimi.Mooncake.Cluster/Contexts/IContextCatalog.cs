namespace Kimi.Mooncake.Cluster.Contexts;

/// <summary>
/// The contexts that users created by name. What a change answers is durable. A tenant sees only what is its own.
/// </summary>
/// <remarks>
/// Every method throws <see cref="ContextCatalogException"/> when the catalog cannot be written or reached.
/// </remarks>
public interface IContextCatalog
{
    /// <summary>Keeps a context, and points its tags at it.</summary>
    /// <param name="context">What to keep; id, sequence and time of creation are the catalog's to give.</param>
    /// <param name="tags">Tags; each is a text that <see cref="ContextTag.IsTag"/> accepts.</param>
    /// <param name="cancellationToken">Gives up before it is begun.</param>
    /// <exception cref="ContextLimitException">There is no room for it.</exception>
    /// <exception cref="InvalidDataException">It is not as it must be; the message names the field.</exception>
    Task<KeptContext> CreateAsync(
        KeptContext context, IReadOnlyList<string> tags, CancellationToken cancellationToken);

    /// <summary>A context; null where the tenant has none of that name.</summary>
    Task<KeptContext?> GetAsync(string tenant, string id, CancellationToken cancellationToken);

    /// <summary>A page of a tenant's contexts; null where it has no context named as a bound.</summary>
    Task<IReadOnlyList<KeptContext>?> ListAsync(
        string tenant, ContextQuery query, CancellationToken cancellationToken);

    /// <summary>Changes a context; null where the tenant has none of that name.</summary>
    /// <exception cref="ContextLimitException">There is no room for it.</exception>
    Task<KeptContext?> UpdateAsync(
        string tenant, string id, ContextUpdate update, CancellationToken cancellationToken);

    /// <summary>Forgets a context and its tags; false where the tenant has none of that name.</summary>
    Task<bool> DeleteAsync(string tenant, string id, CancellationToken cancellationToken);

    /// <summary>Unexpired contexts of all tenants that wait to be prefilled, oldest first.</summary>
    /// <param name="afterSequence">Only those with a greater sequence; 0 for all.</param>
    /// <param name="limit">At most so many; fewer where they are large.</param>
    /// <param name="cancellationToken">Gives up.</param>
    Task<IReadOnlyList<KeptContext>> ListPendingAsync(
        ulong afterSequence, int limit, CancellationToken cancellationToken);

    /// <summary>Points a tag at a context; null where the tenant has none of that name.</summary>
    /// <exception cref="ContextLimitException">The tenant has as many tags as it may.</exception>
    Task<ContextTag?> SetTagAsync(string tenant, string tag, string id, CancellationToken cancellationToken);

    /// <summary>A tag; null where the tenant has none of that name.</summary>
    Task<ContextTag?> GetTagAsync(string tenant, string tag, CancellationToken cancellationToken);

    /// <summary>A page of a tenant's tags; null where it has no tag named as a bound.</summary>
    Task<IReadOnlyList<ContextTag>?> ListTagsAsync(
        string tenant, ContextQuery query, CancellationToken cancellationToken);

    /// <summary>Forgets a tag, whether there is one or not.</summary>
    Task DeleteTagAsync(string tenant, string tag, CancellationToken cancellationToken);
}

/// <summary>Thrown when a limit of the catalog is reached; nothing was changed.</summary>
/// <param name="message">Which limit.</param>
public sealed class ContextLimitException(string message) : Exception(message);

/// <summary>Thrown when contexts are not kept here: the folder for them is not set.</summary>
/// <param name="message">What to set.</param>
public sealed class ContextsOffException(string message) : Exception(message);

/// <summary>Thrown when the catalog cannot be opened, written or reached; nothing was changed.</summary>
/// <param name="message">What happened.</param>
/// <param name="cause">What was thrown; null where nothing was.</param>
public sealed class ContextCatalogException(string message, Exception? cause = null) : Exception(message, cause);
