using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <content>Blocks move to the end of the log, and segments without blocks are deleted.</content>
internal sealed partial class StoreWriter
{
    // An index with more entries is written anew.
    private const int IndexEntriesPerBlockMax = 4;
    private const int IndexEntriesSpare = 1024;

    /// <summary>
    /// Whether a segment is written no more and is known. Under the catalog's lock.
    /// </summary>
    public bool IsFinished(Segment segment)
    {
        var end = _geometry.SegmentStart(segment.Number) + _geometry.SegmentBytes;
        return segment.Scanned && segment.Arriving == 0 &&
            (segment.Number < _device.FirstSegment || (end <= _log.FlushedUntil && end <= _log.TailAddress));
    }

    /// <summary>Whether a segment was deleted.</summary>
    public bool IsGone(Segment segment)
    {
        lock (_catalog.Gate)
        {
            return !ReferenceEquals(_catalog.Segments.Find(segment.Number), segment);
        }
    }

    /// <summary>
    /// Appends a copy of a block, which takes over when it is durable. Moves may use the room that puts leave free.
    /// </summary>
    /// <returns>False when the write buffer has no room now.</returns>
    public unsafe bool TryAppendMove(in BlockKey key, long from, byte* header, byte* stored, int storedBytes)
    {
        lock (_appendGate)
        {
            if (!_log.TryAppend(header, stored, storedBytes, out var address))
            {
                return false;
            }

            lock (_catalog.Gate)
            {
                var bytes = _geometry.EntryBytesOf(storedBytes);
                _catalog.Segments.Grow(address, bytes).Arriving++;
                _pending.Add(new Appended(key, address, bytes, from));
            }

            return true;
        }
    }

    /// <summary>A block stays where it is.</summary>
    public void GiveUpMove(in BlockKey key, long address)
    {
        lock (_catalog.Gate)
        {
            if (_catalog.FindAt(key, address) is >= 0 and var id)
            {
                _catalog.Index.Data(id).Marks &= ~BlockMarks.Moving;
            }
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

    /// <summary>Deletes the segments in which nothing is found any more; under the flush gate.</summary>
    private void DeleteDeadSegments()
    {
        List<Segment>? dead = null;
        lock (_catalog.Gate)
        {
            foreach (var segment in _catalog.Segments.All)
            {
                if (segment.Blocks == 0 && IsFinished(segment))
                {
                    (dead ??= []).Add(segment);
                }
            }
        }

        foreach (var segment in dead ?? [])
        {
            if (!_device.DeleteFiles(segment.Number))
            {
                // It is tried again when the folder is opened next.
                StoreMessages.SegmentStays(_logger, _device.DataPath(segment.Number));
            }

            lock (_catalog.Gate)
            {
                _catalog.Segments.Remove(segment);
            }
        }
    }
}
