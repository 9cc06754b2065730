using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster.Contexts;

/// <summary>How the catalog changes: one change at a time, within the limits, written before it is done.</summary>
public sealed partial class ContextCatalog
{
    /// <summary>Decides on the table as it is, writes, and then changes it; one change at a time.</summary>
    private async Task<T> ChangeAsync<T>(
        Func<(Wire.ContextJournalEntry? Entry, T Result)> decide, CancellationToken cancellationToken)
    {
        await _writing.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            // Only who writes changes the table, so deciding on it needs no lock.
            Forget();
            var (entry, result) = decide();
            if (entry is not null)
            {
                _journal.Append(entry);
                lock (_lock)
                {
                    _table.Apply(entry);
                }

                Compact();
            }

            return result;
        }
        finally
        {
            _writing.Release();
        }
    }

    private KeptContext? Find(string tenant, string id) =>
        _table.Find(tenant, id) is { } context && IsKnown(context) ? context : null;

    private bool IsKnown(KeptContext context) => NowUnixMs < ForgottenUnixMs(context);

    private bool IsKnown(ContextTag tag) => Find(tag.Tenant, tag.ContextId) is not null;

    private long ForgottenUnixMs(KeptContext context) => context.ExpiresUnixMs + (1000L * _options.InactiveSeconds);

    /// <summary>Drops what expired long ago. The clock says the same after a start, so the journal need not.</summary>
    private void Forget()
    {
        var now = NowUnixMs;
        if (now < _forgetAtUnixMs)
        {
            return;
        }

        _forgetAtUnixMs = now + ForgetIntervalMs;
        lock (_lock)
        {
            foreach (var context in _table.Contexts.Where(context => !IsKnown(context)).ToList())
            {
                _table.Forget(context);
            }
        }
    }

    private void CheckRoom(KeptContext context)
    {
        var tenant = _table.Of(context.Tenant);
        Check(context.Bytes, _options.ContextBytesMax, "bytes in one context", "context_bytes_max");
        Check(_table.Count + 1, _options.ContextsMax, "contexts", "contexts_max");
        Check(_table.Bytes + context.Bytes, _options.BytesMax, "bytes of contexts", "bytes_max");
        Check((tenant?.Count ?? 0) + 1, _options.TenantContextsMax, "contexts of one tenant", "tenant_contexts_max");
        Check(
            (tenant?.Bytes ?? 0) + context.Bytes, _options.TenantBytesMax, "bytes of one tenant's contexts",
            "tenant_bytes_max");
    }

    private void CheckTags(string tenant, IReadOnlyCollection<string> tags)
    {
        var present = _table.Of(tenant);
        var added = tags.Distinct().Count(tag => present?.Tag(tag) is null);
        Check((present?.TagCount ?? 0) + added, _options.TenantTagsMax, "tags of one tenant", "tenant_tags_max");
    }

    private static void Check(long wanted, long max, string what, string setting)
    {
        if (wanted > max)
        {
            throw new ContextLimitException($"at most {max} {what} are kept (contexts.{setting}), not {wanted}");
        }
    }

    private void Compact()
    {
        if (_journal.Bytes >= _compactAtBytes)
        {
            Rewrite();

            // Superseded records may take as much as the others; where the file could not be written anew, more.
            _compactAtBytes =
                Math.Max(_journal.Bytes, _table.Bytes) + Math.Max(_table.Bytes, _options.CompactBytesMin);
        }
    }

    /// <summary>Writes a journal anew of which records were passed over, so that it is whole from now on.</summary>
    private void CloseGaps()
    {
        if (_journal.HasGaps)
        {
            Rewrite();
        }
    }

    private void Rewrite()
    {
        try
        {
            _journal.Rewrite(_table.ToChanges());
        }
        catch (ContextCatalogException fault)
        {
            ContextLog.NotCompacted(_logger, _options.Directory, fault.Message);
        }
    }
}
