using System.Security.Cryptography;
using Microsoft.Extensions.Logging;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster.Contexts;

/// <summary>
/// Contexts in a folder of this process. A change is written, then done in memory: whoever reads sees only what is
/// durable. Expired contexts stay for a while, so that they can be enabled again.
/// </summary>
public sealed partial class ContextCatalog : IContextCatalog, IDisposable
{
    private const string IdChars = "abcdefghijklmnopqrstuvwxyz0123456789";
    private const int IdRandomChars = 20;
    private const long ForgetIntervalMs = 60_000;
    private const string LockName = "lock";

    private readonly ContextCatalogOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly FileStream _folderLock;
    private readonly ContextJournal _journal;
    private readonly SemaphoreSlim _writing = new(1);
    private readonly Lock _lock = new();
    private readonly ContextTable _table;
    private long _compactAtBytes;
    private long _forgetAtUnixMs;

    private ContextCatalog(
        ContextCatalogOptions options, TimeProvider time, ILogger logger, FileStream folderLock,
        ContextJournal journal, ContextTable table)
    {
        _options = options;
        _time = time;
        _logger = logger;
        _folderLock = folderLock;
        _journal = journal;
        _table = table;
        Forget();
        _compactAtBytes = (2 * table.Bytes) + options.CompactBytesMin;
    }

    /// <summary>Bytes of the journal.</summary>
    public long JournalBytes => _journal.Bytes;

    private long NowUnixMs => _time.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>Opens the folder, which belongs to one process at a time.</summary>
    /// <param name="options">Which folder, and the limits.</param>
    /// <param name="time">Clock.</param>
    /// <param name="logger">Is told what was found.</param>
    /// <exception cref="ContextCatalogException">It cannot be read or written, or another process has it.</exception>
    public static ContextCatalog Open(ContextCatalogOptions options, TimeProvider time, ILogger logger)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(time);
        var folderLock = TakeFolder(options.Directory);
        try
        {
            var table = new ContextTable();
            var journal = ContextJournal.Open(options.Directory, table.Apply, time.GetUtcNow(), logger);
            var catalog = new ContextCatalog(options, time, logger, folderLock, journal, table);
            catalog.CloseGaps();
            ContextLog.Opened(logger, table.Count, options.Directory);
            return catalog;
        }
        catch
        {
            folderLock.Dispose();
            throw;
        }
    }

    /// <inheritdoc />
    public Task<KeptContext> CreateAsync(
        KeptContext context, IReadOnlyList<string> tags, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(tags);
        return ChangeAsync(
            () =>
            {
                var now = NowUnixMs;
                var created = context with
                {
                    Id = "cache-" + RandomNumberGenerator.GetString(IdChars, IdRandomChars),
                    Sequence = _table.LastSequence + 1,
                    CreatedUnixMs = now,
                };
                CheckRoom(created);
                var message = ContextMessages.ToMessage(created);
                ContextMessages.ToContext(message);
                var entry = Of(new Wire.ContextChange { Created = message });
                var sequence = created.Sequence;
                foreach (var tag in tags.Distinct())
                {
                    entry.Changes.Add(TagSet(new ContextTag(created.Tenant, tag, created.Id, now, ++sequence)));
                }

                CheckTags(created.Tenant, [.. tags]);
                return (entry, created);
            },
            cancellationToken);
    }

    /// <inheritdoc />
    public Task<KeptContext?> GetAsync(string tenant, string id, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            return Task.FromResult(Find(tenant, id));
        }
    }

    /// <inheritdoc />
    public Task<IReadOnlyList<KeptContext>?> ListAsync(
        string tenant, ContextQuery query, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(query);
        lock (_lock)
        {
            return Task.FromResult(ContextPage.Cut(
                (_table.Of(tenant)?.Contexts ?? []).Where(IsKnown), query, context => context.Id,
                BytesOnThePage, _options.ContextBytesMax, context => query.Metadata.All(context.Has)));
        }
    }

    /// <inheritdoc />
    public Task<KeptContext?> UpdateAsync(
        string tenant, string id, ContextUpdate update, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(update);
        return ChangeAsync<KeptContext?>(
            () =>
            {
                if (Find(tenant, id) is not { } context)
                {
                    return (null, null);
                }

                // Nothing is written that could not be read back.
                var message = ContextMessages.ToMessage(tenant, id, update);
                ContextMessages.ToUpdate(message);
                return (Of(new Wire.ContextChange { Updated = message }), ContextTable.Updated(context, update));
            },
            cancellationToken);
    }

    /// <inheritdoc />
    public Task<bool> DeleteAsync(string tenant, string id, CancellationToken cancellationToken) => ChangeAsync(
        () => Find(tenant, id) is null
            ? (null, false)
            : (Of(new Wire.ContextChange { Deleted = new Wire.ContextName { Tenant = tenant, Id = id } }), true),
        cancellationToken);

    /// <inheritdoc />
    public Task<IReadOnlyList<KeptContext>> ListPendingAsync(
        ulong afterSequence, int limit, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            var now = NowUnixMs;
            var pending = _table.Contexts
                .Where(context => context.State.Status == ContextStatus.Pending && context.ExpiresUnixMs > now
                    && context.Sequence > afterSequence)
                .OrderBy(context => context.Sequence);
            return Task.FromResult(ContextPage.Cut(
                pending, new ContextQuery { Limit = limit, Ascending = true }, context => context.Id,
                BytesOnThePage, _options.ContextBytesMax, _ => true)!);
        }
    }

    /// <inheritdoc />
    public Task<ContextTag?> SetTagAsync(string tenant, string tag, string id, CancellationToken cancellationToken) =>
        ChangeAsync<ContextTag?>(
            () =>
            {
                if (Find(tenant, id) is null)
                {
                    return (null, null);
                }

                CheckTags(tenant, [tag]);
                var set = new ContextTag(tenant, tag, id, NowUnixMs, _table.LastSequence + 1);
                return (Of(TagSet(set)), set);
            },
            cancellationToken);

    /// <inheritdoc />
    public Task<ContextTag?> GetTagAsync(string tenant, string tag, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            var found = _table.Of(tenant)?.Tag(tag);
            return Task.FromResult(found is not null && IsKnown(found) ? found : null);
        }
    }

    /// <inheritdoc />
    public Task<IReadOnlyList<ContextTag>?> ListTagsAsync(
        string tenant, ContextQuery query, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(query);
        lock (_lock)
        {
            return Task.FromResult(ContextPage.Cut(
                (_table.Of(tenant)?.Tags ?? []).Where(IsKnown), query, tag => tag.Tag, _ => 0, 0, _ => true));
        }
    }

    /// <inheritdoc />
    public Task DeleteTagAsync(string tenant, string tag, CancellationToken cancellationToken) => ChangeAsync(
        () => _table.Of(tenant)?.Tag(tag) is null
            ? (null, false)
            : (Of(new Wire.ContextChange { TagDeleted = new Wire.ContextTagName { Tenant = tenant, Tag = tag } }),
                true),
        cancellationToken);

    /// <inheritdoc />
    public void Dispose()
    {
        _journal.Dispose();
        _folderLock.Dispose();
        _writing.Dispose();
    }

    private static FileStream TakeFolder(string directory)
    {
        try
        {
            Directory.CreateDirectory(directory);
            return new FileStream(
                Path.Combine(directory, LockName), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException
            or NotSupportedException or ArgumentException)
        {
            throw new ContextCatalogException(
                $"the folder of contexts '{directory}' cannot be written, or is in use by another process: " +
                fault.Message, fault);
        }
    }

    /// <summary>What a context takes of a message, where the limits count its short texts more roughly.</summary>
    private static long BytesOnThePage(KeptContext context) => ContextMessages.ToMessage(context).CalculateSize();

    private static Wire.ContextJournalEntry Of(Wire.ContextChange change) => new() { Changes = { change } };

    private static Wire.ContextChange TagSet(ContextTag tag)
    {
        var message = ContextMessages.ToMessage(tag);
        ContextMessages.ToTag(message);
        return new Wire.ContextChange { TagSet = message };
    }
}
