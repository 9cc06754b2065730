using Kimi.Mooncake.KvCache.Retention;

namespace Kimi.Mooncake.Store;

/// <summary>A segment file and what lives in it.</summary>
internal sealed class Segment(int number)
{
    public int Number { get; } = number;

    /// <summary>Bytes of the file, up to a page more than there are.</summary>
    public long FileBytes { get; set; }

    /// <summary>Bytes of the blocks that are found here.</summary>
    public long LiveBytes { get; set; }

    /// <summary>Blocks that are found here.</summary>
    public int Blocks { get; set; }

    /// <summary>Id of the first of them, or -1.</summary>
    public int First { get; set; } = -1;

    /// <summary>Copies of blocks that were appended here and take over once they are durable.</summary>
    public int Arriving { get; set; }

    /// <summary>Entries in its index file.</summary>
    public int IndexEntries { get; set; }

    /// <summary>Whether its index was read; always true of segments written by this process.</summary>
    public bool Scanned { get; set; } = true;
}

/// <summary>
/// The segment files and which blocks lie in each, linked through the blocks' own entries. Under the catalog's lock.
/// </summary>
internal sealed class SegmentTable(StoreGeometry geometry, RetentionIndex<StoredBlock> index)
{
    private readonly Dictionary<int, Segment> _segments = [];

    /// <summary>Bytes of all files of the log.</summary>
    public long FileBytes { get; private set; }

    /// <summary>Bytes of the blocks that are found.</summary>
    public long LiveBytes { get; private set; }

    public int Count => _segments.Count;

    public IEnumerable<Segment> All => _segments.Values;

    public Segment? Find(int number) => _segments.GetValueOrDefault(number);

    /// <summary>Adds a segment that was found on disk.</summary>
    public void AddFound(int number, long fileBytes)
    {
        _segments[number] = new Segment(number) { FileBytes = fileBytes, Scanned = false };
        FileBytes += fileBytes;
    }

    /// <summary>Notes that a record was appended.</summary>
    public Segment Grow(long address, int entryBytes)
    {
        var number = geometry.SegmentOf(address);
        if (!_segments.TryGetValue(number, out var segment))
        {
            _segments[number] = segment = new Segment(number);
        }

        var end = address - geometry.SegmentStart(number) + entryBytes;
        var bytes = (end + geometry.PageBytes - 1) / geometry.PageBytes * geometry.PageBytes;
        if (bytes > segment.FileBytes)
        {
            FileBytes += bytes - segment.FileBytes;
            segment.FileBytes = bytes;
        }

        return segment;
    }

    /// <summary>Enlists a block in the segment of its address, which is there.</summary>
    public void Link(int id)
    {
        ref var block = ref index.Data(id);
        var segment = _segments[geometry.SegmentOf(block.Address)];
        var bytes = index.BytesOfBlock(id);
        segment.LiveBytes += bytes;
        segment.Blocks++;
        LiveBytes += bytes;
        block.Previous = -1;
        block.Next = segment.First;
        if (segment.First >= 0)
        {
            index.Data(segment.First).Previous = id;
        }

        segment.First = id;
    }

    /// <summary>Takes a block off its segment's list.</summary>
    public void Unlink(int id)
    {
        ref var block = ref index.Data(id);
        var segment = _segments[geometry.SegmentOf(block.Address)];
        var bytes = index.BytesOfBlock(id);
        segment.LiveBytes -= bytes;
        segment.Blocks--;
        LiveBytes -= bytes;
        if (block.Previous >= 0)
        {
            index.Data(block.Previous).Next = block.Next;
        }
        else
        {
            segment.First = block.Next;
        }

        if (block.Next >= 0)
        {
            index.Data(block.Next).Previous = block.Previous;
        }
    }

    /// <summary>Forgets a segment in which nothing is found any more.</summary>
    public void Remove(Segment segment)
    {
        if (segment.Blocks != 0)
        {
            throw new InvalidOperationException($"segment {segment.Number} has {segment.Blocks} blocks");
        }

        _segments.Remove(segment.Number);
        FileBytes -= segment.FileBytes;
    }

    /// <summary>Breaks with a message when lists and sums do not add up; for tests.</summary>
    public void Check()
    {
        var blocks = 0;
        foreach (var segment in _segments.Values)
        {
            var bytes = 0L;
            var count = 0;
            for (var id = segment.First; id >= 0; id = index.Data(id).Next)
            {
                bytes += index.BytesOfBlock(id);
                count++;
            }

            if (count != segment.Blocks || bytes != segment.LiveBytes)
            {
                throw new InvalidOperationException(
                    $"segment {segment.Number}: {count} blocks of {bytes} bytes != {segment.Blocks} of " +
                    $"{segment.LiveBytes}");
            }

            blocks += count;
        }

        if (blocks != index.Count || LiveBytes != index.Bytes)
        {
            throw new InvalidOperationException(
                $"segments: {blocks} blocks of {LiveBytes} bytes != {index.Count} of {index.Bytes}");
        }
    }
}
