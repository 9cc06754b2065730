using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Store;

/// <summary>What was found in the folder.</summary>
/// <param name="BeginAddress">Start of the oldest segment that is kept.</param>
/// <param name="StartAddress">Where the log goes on: a page boundary after everything found.</param>
/// <param name="Damaged">Entries and segments that failed a check.</param>
internal readonly record struct RecoveredLog(long BeginAddress, long StartAddress, long Damaged);

/// <summary>
/// Rebuilds the catalog from the segment indexes. Reads no block: a block is checked when it is read. A segment whose
/// index says nothing usable is deleted, because nothing in it can be found.
/// </summary>
internal static class StoreRecovery
{
    // FASTER numbers pages with 31 bits; a folder that gets near starts over.
    private const long PageNumberMax = 1L << 29;

    public static RecoveredLog Load(
        string directory, StoreGeometry geometry, SegmentDevice device, BlockCatalog catalog, ILogger logger)
    {
        long damaged = 0;
        var end = 0L;
        var kept = new List<int>();
        foreach (var segment in SegmentDevice.ListSegments(directory))
        {
            end = geometry.SegmentStart(segment) + geometry.SegmentBytes;
            if (end / geometry.PageBytes > PageNumberMax)
            {
                StoreMessages.SegmentOutOfRange(logger, directory, segment);
                device.DeleteFiles(segment);
                end = 0;
                damaged++;
                break;
            }

            var free = LoadSegment(geometry, device, segment, catalog, logger, ref damaged);
            if (free is { } known)
            {
                kept.Add(segment);
                end = known;
            }
        }

        if (end == 0)
        {
            DeleteAll(directory, geometry, device, catalog, kept);
        }

        var start = (end + geometry.PageBytes - 1) / geometry.PageBytes * geometry.PageBytes;
        var begin = kept.Count > 0 ? geometry.SegmentStart(kept[0]) : SegmentFloor(geometry, start);
        foreach (var segment in kept.TakeWhile(_ => start - begin > geometry.LogBytesMax))
        {
            DropSegment(geometry, device, catalog, segment);
            begin = geometry.SegmentStart(segment) + geometry.SegmentBytes;
        }

        return new RecoveredLog(Math.Min(begin, SegmentFloor(geometry, start)), start, damaged);
    }

    private static long SegmentFloor(StoreGeometry geometry, long address) =>
        geometry.SegmentStart(geometry.SegmentOf(address));

    /// <summary>Adds a segment's blocks; where the log may go on, or null when nothing in it is usable.</summary>
    private static long? LoadSegment(
        StoreGeometry geometry, SegmentDevice device, int segment, BlockCatalog catalog, ILogger logger,
        ref long damaged)
    {
        List<IndexedBlock> blocks = [];
        var dataBytes = 0L;
        var bad = 0;
        try
        {
            var data = new FileInfo(device.DataPath(segment));
            if (data.Exists && File.Exists(device.IndexPath(segment)))
            {
                dataBytes = Math.Min(data.Length, geometry.SegmentBytes);
                blocks = SegmentIndex.Read(device.IndexPath(segment), geometry, segment, dataBytes, out bad);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            StoreMessages.SegmentUnreadable(logger, device.DataPath(segment), exception.Message);
        }

        if (blocks.Count == 0)
        {
            // Blocks without an index file were never reported as flushed: the run ended before.
            damaged += File.Exists(device.IndexPath(segment)) ? 1 : 0;
            StoreMessages.SegmentDropped(logger, device.DataPath(segment), device.DeleteFiles(segment));
            return null;
        }

        damaged += bad;
        foreach (var (key, address) in blocks)
        {
            catalog.Add(new StoredBlock { Key = key, Address = address, Durable = true });
        }

        // Appending behind damage could bring old entries back to life: a damaged segment is left as it is.
        return geometry.SegmentStart(segment) + (bad == 0 ? dataBytes : geometry.SegmentBytes);
    }

    private static void DropSegment(
        StoreGeometry geometry, SegmentDevice device, BlockCatalog catalog, int segment)
    {
        foreach (var block in catalog.TakeSegment(segment))
        {
            if (geometry.SegmentOf(block.Address) == segment && catalog.IsCurrent(block, block.Address))
            {
                catalog.Remove(block.Key);
            }
        }

        device.DeleteFiles(segment);
    }

    private static void DeleteAll(
        string directory, StoreGeometry geometry, SegmentDevice device, BlockCatalog catalog, List<int> kept)
    {
        kept.Clear();
        foreach (var segment in SegmentDevice.ListSegments(directory))
        {
            DropSegment(geometry, device, catalog, segment);
        }
    }
}
