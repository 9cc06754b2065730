using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <content>Blocks move to the end of the log, and segments without blocks are deleted.</content>
internal sealed partial class StoreWriter
{
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
