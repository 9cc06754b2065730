using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <content>What segments' indexes say.</content>
internal sealed partial class StoreWriter
{
    // An index with more entries is written anew.
    private const int IndexEntriesPerBlockMax = 4;
    private const int IndexEntriesSpare = 1024;

    /// <summary>
    /// Writes a segment's index: first what was removed, then what is new, then what is kept otherwise.
    /// </summary>
    private bool Write(int segment, SegmentChange change)
    {
        var entries = new List<IndexEntry>(change.Appended.Count + change.Amendments.Count);
        var written = new List<Appended>(change.Appended.Count);
        lock (_catalog.Gate)
        {
            // A segment that was deleted must not come back as an index without data.
            if (_catalog.Segments.Find(segment) is null)
            {
                return true;
            }
        }

        AddRemoved(change.Amendments, entries);
        Collect(change.Appended, entries, written);
        AddRetentions(segment, change.Amendments, entries);

        try
        {
            _catalog.TenantNames.Save(_options.SyncToDrive);
            if (_options.SyncToDrive && written.Count > 0)
            {
                _device.FlushToDisk(segment);
            }

            if (entries.Count > 0)
            {
                SegmentIndex.Append(
                    _device.IndexPath(segment), _geometry.Format.Identity, segment, CollectionsMarshal.AsSpan(entries),
                    _options.SyncToDrive);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            NoteFailure();
            StoreMessages.WriteRefused(_logger, _options.Directory, exception.Message, 0);
            Requeue(written, change.Amendments);
            return false;
        }

        Settle(segment, written, entries.Count);
        return true;
    }

    private void AddRemoved(List<Amendment> amendments, List<IndexEntry> entries)
    {
        var now = _catalog.NowMs;
        foreach (var amendment in
            amendments.Where(static amendment => amendment.Kind == IndexEntryKind.Removed).Distinct())
        {
            entries.Add(default(IndexEntry) with
            {
                Kind = IndexEntryKind.Removed,
                Key = amendment.Key,
                StoredAtMs = now,
            });
        }
    }

    private void AddRetentions(int segment, List<Amendment> amendments, List<IndexEntry> entries)
    {
        Amendment[] retentions =
            [.. amendments.Where(static amendment => amendment.Kind == IndexEntryKind.Retention).Distinct()];
        foreach (var step in retentions.Chunk(BatchStep))
        {
            lock (_catalog.Gate)
            {
                var now = _catalog.NowMs;
                foreach (var amendment in step)
                {
                    AddRetention(segment, amendment, now, entries);
                }
            }
        }
    }

    private void AddRetention(int segment, in Amendment amendment, long now, List<IndexEntry> entries)
    {
        if (_catalog.Find(amendment.Key) is not (>= 0 and var id))
        {
            return;
        }

        var address = _catalog.Index.Data(id).Address;
        if (_geometry.SegmentOf(address) == segment && _catalog.IsDurable(id))
        {
            entries.Add(_catalog.EntryOf(id, address, amendment.Kind, now));
        }
        else
        {
            // It moved meanwhile, or its first entry is still to be written: to be said there and then.
            _catalog.NoteAmendment(amendment with { Segment = _geometry.SegmentOf(address) });
        }
    }

    private void Collect(List<Appended> appended, List<IndexEntry> entries, List<Appended> written)
    {
        for (var at = 0; at < appended.Count; at += BatchStep)
        {
            lock (_catalog.Gate)
            {
                var now = _catalog.NowMs;
                foreach (var entry in CollectionsMarshal.AsSpan(appended)[at..Math.Min(at + BatchStep, appended.Count)])
                {
                    if (_catalog.FindAt(entry.Key, entry.FoundAt) is >= 0 and var id)
                    {
                        entries.Add(_catalog.EntryOf(id, entry.Address, IndexEntryKind.Block, now));
                        written.Add(entry);
                    }
                    else if (entry.IsMove)
                    {
                        EndMove(entry);
                    }
                }
            }
        }
    }

    private void Settle(int segment, List<Appended> written, int entries)
    {
        for (var at = 0; at < Math.Max(1, written.Count); at += BatchStep)
        {
            lock (_catalog.Gate)
            {
                if (at == 0 && _catalog.Segments.Find(segment) is { } found)
                {
                    found.IndexEntries += entries;
                }

                for (var i = at; i < Math.Min(at + BatchStep, written.Count); i++)
                {
                    Settle(written[i], segment);
                }
            }
        }
    }

    private void Settle(in Appended entry, int segment)
    {
        var id = _catalog.FindAt(entry.Key, entry.FoundAt);
        if (id < 0)
        {
            // It went while its entry was being written.
            _catalog.NoteAmendment(new Amendment(IndexEntryKind.Removed, entry.Key, segment));
        }
        else if (entry.IsMove)
        {
            // The old place no longer speaks for the block; the entry of the new one is written.
            _catalog.NoteStale(entry.Key, _geometry.SegmentOf(entry.From));
            _catalog.Move(id, entry.Address);
            // Where the entry of the put could not be written, that of the move says all that it would have said.
            _catalog.MarkDurable(id);
            Interlocked.Increment(ref _counters.Moved);
        }
        else
        {
            _catalog.MarkDurable(id);
        }

        if (entry.IsMove)
        {
            EndMove(entry);
        }
    }

    /// <summary>
    /// Writes indexes anew that have grown by changes to blocks: as many entries as blocks; under the flush gate.
    /// </summary>
    private void ShortenIndexes()
    {
        Segment[] grown;
        lock (_catalog.Gate)
        {
            grown = [.. _catalog.Segments.All.Where(static segment => segment.Scanned && segment.Blocks > 0 &&
                segment.IndexEntries > (IndexEntriesPerBlockMax * segment.Blocks) + IndexEntriesSpare)];
        }

        foreach (var segment in grown)
        {
            var entries = EntriesOf(segment);
            try
            {
                SegmentIndex.Replace(
                    _device.IndexPath(segment.Number), _geometry.Format.Identity, segment.Number,
                    CollectionsMarshal.AsSpan(entries), _options.SyncToDrive);
                segment.IndexEntries = entries.Count;
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                NoteFailure();
                StoreMessages.WriteRefused(_logger, _options.Directory, exception.Message, 0);
                return;
            }
        }
    }

    private List<IndexEntry> EntriesOf(Segment segment)
    {
        var entries = new List<IndexEntry>(segment.Blocks);
        (BlockKey Key, long Address)? last = null;
        do
        {
            lock (_catalog.Gate)
            {
                last = Collect(segment, last, entries);
            }
        }
        while (last is not null);

        return entries;
    }

    /// <summary>Adds the entries of some durable blocks; the last block looked at, null at the end.</summary>
    private (BlockKey Key, long Address)? Collect(
        Segment segment, (BlockKey Key, long Address)? after, List<IndexEntry> entries)
    {
        var now = _catalog.NowMs;
        // Where the last one went meanwhile, from the start: an entry twice does no harm.
        var id = after is { } last && _catalog.FindAt(last.Key, last.Address) is >= 0 and var known
            ? _catalog.Index.Data(known).Next
            : segment.First;
        for (var step = 0; id >= 0; step++)
        {
            var block = _catalog.Index.Data(id);
            if (_catalog.IsDurable(id))
            {
                entries.Add(_catalog.EntryOf(id, block.Address, IndexEntryKind.Block, now));
            }

            if (step == BatchStep)
            {
                return (_catalog.Index.KeyOf(id), block.Address);
            }

            id = block.Next;
        }

        return null;
    }
}
