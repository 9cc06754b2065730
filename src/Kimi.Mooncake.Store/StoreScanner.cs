using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Store;

/// <summary>
/// Finds again what earlier runs left, while the store serves: replays the segments' indexes, oldest first, as they
/// were written. Reads no block: a block is checked when it is read. What was put or removed since the store was
/// opened is newer than everything found.
/// </summary>
internal sealed class StoreScanner(
    StoreGeometry geometry, SegmentDevice device, BlockCatalog catalog, RecordReader reader,
    StoreCounters counters, ILogger logger)
{
    // Entries taken over under the lock at a time.
    private const int BatchStep = 64;

    private int _left;
    private int _total;

    public StoreScan State => new(
        Volatile.Read(ref _left), Volatile.Read(ref _total), Interlocked.Read(ref counters.Recovered));

    /// <summary>Notes what is to be looked at, before anything is served.</summary>
    /// <param name="segments">Numbers and bytes of the segments, ascending.</param>
    public void Begin(IReadOnlyList<FoundSegment> segments)
    {
        foreach (var (number, bytes) in segments)
        {
            catalog.Segments.AddFound(number, bytes);
        }

        _total = _left = segments.Count;
        if (_total == 0)
        {
            catalog.EndScan();
        }
    }

    /// <summary>Looks at every segment.</summary>
    /// <param name="segments">What <see cref="Begin"/> took.</param>
    /// <param name="drop">Whether they are of no use here, and are to be deleted.</param>
    /// <param name="cancellationToken">Ends it between two segments.</param>
    public void Run(IReadOnlyList<FoundSegment> segments, bool drop, CancellationToken cancellationToken)
    {
        foreach (var found in segments)
        {
            if (cancellationToken.IsCancellationRequested)
            {
                return;
            }

            if (drop)
            {
                Drop(found.Number);
            }
            else
            {
                Scan(found);
            }

            catalog.Events.Tell();
            Interlocked.Decrement(ref _left);
        }

        for (var more = true; more;)
        {
            lock (catalog.Gate)
            {
                more = catalog.SettleEarlier(BatchStep);
            }
        }
    }

    private void Drop(int number)
    {
        var deleted = device.DeleteFiles(number);
        if (!deleted)
        {
            StoreMessages.SegmentStays(logger, device.DataPath(number));
        }

        lock (catalog.Gate)
        {
            if (catalog.Segments.Find(number) is { } segment)
            {
                catalog.Segments.Remove(segment);
            }
        }
    }

    private void Scan(FoundSegment found)
    {
        var usable = 0;
        var damaged = 0;
        var index = device.IndexPath(found.Number);
        try
        {
            if (File.Exists(index))
            {
                damaged = SegmentIndex.Read(index, geometry.Format.Identity, found.Number, entries =>
                {
                    var taken = Take(found, entries);
                    usable += taken;
                    damaged += entries.Length - taken;
                });
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // It is left alone: it may be readable another time.
            Interlocked.Increment(ref counters.ReadFailures);
            StoreMessages.SegmentUnreadable(logger, index, exception.Message);
            return;
        }

        if (usable == 0)
        {
            // Blocks without an index file were never reported as flushed: the run ended before.
            Interlocked.Add(ref counters.Damaged, File.Exists(index) ? 1 : 0);
            StoreMessages.SegmentDropped(logger, device.DataPath(found.Number));
        }
        else
        {
            Interlocked.Add(ref counters.Damaged, damaged);
        }

        lock (catalog.Gate)
        {
            if (catalog.Segments.Find(found.Number) is { } segment)
            {
                segment.Scanned = true;
                segment.IndexEntries = usable;
            }
        }
    }

    private int Take(FoundSegment found, ReadOnlySpan<IndexEntry> entries)
    {
        var taken = 0;
        for (var at = 0; at < entries.Length; at += BatchStep)
        {
            var part = entries.Slice(at, Math.Min(BatchStep, entries.Length - at));
            FindTenants(found.Number, part);
            lock (catalog.Gate)
            {
                var now = catalog.NowMs;
                foreach (ref readonly var entry in part)
                {
                    taken += Take(found, entry, now) ? 1 : 0;
                }
            }
        }

        return taken;
    }

    // A name that the file of names does not have is read from a block of the tenant.
    private void FindTenants(int segment, ReadOnlySpan<IndexEntry> entries)
    {
        foreach (ref readonly var entry in entries)
        {
            if (entry.Kind != IndexEntryKind.Block || catalog.TenantNames.Find(entry.Tenant) is not null)
            {
                continue;
            }

            var header = new byte[geometry.HeaderBytes];
            if (TryReadHeader(geometry.SegmentStart(segment) + entry.Offset, header) &&
                TenantNames.HashOf(BlockRecord.Tenant(header)) == entry.Tenant)
            {
                catalog.TenantNames.Add(BlockRecord.Tenant(header));
            }
        }
    }

    // One block that the disk refuses does not make the rest of its index unreadable.
    private bool TryReadHeader(long address, Span<byte> header)
    {
        try
        {
            return reader.TryReadHeader(address, header);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            Interlocked.Increment(ref counters.ReadFailures);
            StoreMessages.SegmentUnreadable(
                logger, device.DataPath(geometry.SegmentOf(address)), exception.Message);
            return false;
        }
    }

    /// <summary>Replays an entry; false when what it says cannot be.</summary>
    private bool Take(FoundSegment found, in IndexEntry entry, long now)
    {
        var id = catalog.Index.FindAny(entry.Key);
        var current = id < 0 ? -1 : geometry.SegmentOf(catalog.Index.Data(id).Address);
        switch (entry.Kind)
        {
            case IndexEntryKind.Removed:
                catalog.ForgetEarlier(entry.Key);
                if (current == found.Number)
                {
                    catalog.Drop(id);
                }

                return true;
            case IndexEntryKind.Retention:
            case IndexEntryKind.Block:
                // The first entry of a block may have expired where a later one has not.
                return TakeBlock(found, entry, id, now);
            default:
                return false;
        }
    }

    private bool TakeBlock(FoundSegment found, in IndexEntry entry, int id, long now)
    {
        if (entry.LogBytes <= StoreGeometry.LogEntryHeaderBytes + geometry.HeaderBytes ||
            entry.LogBytes > geometry.EntryBytes || entry.Offset + (long)entry.LogBytes > found.Bytes ||
            catalog.TenantNames.Find(entry.Tenant) is not { } tenant)
        {
            return false;
        }

        if (catalog.WasRemoved(entry.Key) || tenant == KvBlockStore.SwapTenant)
        {
            catalog.NoteStale(entry.Key, found.Number);
            return true;
        }

        var address = geometry.SegmentStart(found.Number) + entry.Offset;
        var current = id < 0 ? found.Number : geometry.SegmentOf(catalog.Index.Data(id).Address);
        if (current != found.Number)
        {
            // Each block has one segment that speaks for it: the last.
            catalog.NoteStale(entry.Key, Math.Min(current, found.Number));
        }

        if (current > found.Number)
        {
            // It was put again since: what the last of the older entries promised still holds.
            catalog.NoteEarlier(entry.Key, entry.Retention);
        }
        else if (id >= 0 && entry.LogBytes == catalog.Index.BytesOfBlock(id))
        {
            catalog.Move(id, address);
            if (catalog.WasChanged(entry.Key))
            {
                catalog.NoteEarlier(entry.Key, entry.Retention);
            }
            else
            {
                catalog.SetRetention(id, entry.Retention, now);
            }
        }
        else
        {
            if (id >= 0)
            {
                catalog.Drop(id);
            }

            if (entry.Retention.ExpiresMs > now)
            {
                Add(entry, tenant, address, now);
            }
        }

        return true;
    }

    private void Add(in IndexEntry entry, string tenant, long address, long now)
    {
        var header = new BlockHeader(
            entry.Key, entry.Parent, 0, 0, entry.Tokens, entry.Retention, entry.StoredAtMs, entry.Class, entry.Encoding,
            tenant);
        catalog.Add(header, entry.LogBytes, address, BlockMarks.Durable, now);
        Interlocked.Increment(ref counters.Recovered);
    }

    /// <summary>Whether a folder without a manifest was written by format version 1.</summary>
    public static bool IsVersion1(string directory, IReadOnlyList<FoundSegment> segments)
    {
        // The log begins with 64 spare bytes in segment 0, and each record with 4 bytes of the log's own.
        ReadOnlySpan<int> starts = [4, 68];
        Span<byte> bytes = stackalloc byte[8];
        foreach (var (number, _) in segments.Where(static segment => segment.Bytes > 0))
        {
            using var file = File.OpenHandle(SegmentDevice.DataPath(directory, number));
            foreach (var start in starts)
            {
                if (RandomAccess.Read(file, bytes, start) == bytes.Length &&
                    BlockRecord.VersionOf(bytes) is > 0 and var version)
                {
                    return version == 1;
                }
            }
        }

        return false;
    }
}

/// <summary>A segment that an earlier run left.</summary>
/// <param name="Number">Its number.</param>
/// <param name="Bytes">Bytes of its file.</param>
internal readonly record struct FoundSegment(int Number, long Bytes);
