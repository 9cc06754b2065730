using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <content>What is counted.</content>
public sealed partial class KvBlockStore
{
    /// <summary>A snapshot of the counters.</summary>
    public StoreStatistics Statistics()
    {
        lock (_catalog.Gate)
        {
            var index = _catalog.Index;
            var segments = _catalog.Segments;
            var found = _scanner.State;
            return new StoreStatistics
            {
                Blocks = index.Count,
                BlocksInMemory = _catalog.OwnedSlots,
                MemoryBytes = ((long)_geometry.SlotCount * _geometry.PayloadBytes) + _geometry.LogBufferBytes,
                MemorySlots = _geometry.SlotCount,
                MetadataBytes = index.MetadataBytes + _catalog.Slots.MetadataBytes,
                DiskBytes = segments.FileBytes + ((long)index.Count * SegmentIndex.EntryBytes),
                DiskCapacityBytes = _options.DiskBytes,
                Segments = segments.Count,
                LiveBytes = segments.LiveBytes,
                LiveCapacityBytes = _geometry.LiveBytesHigh,
                DeadBytes = segments.FileBytes - segments.LiveBytes,
                SegmentsToScan = found.SegmentsLeft,
                Recovered = found.Blocks,
                Tenants = index.TenantCount,
                SoftPinned = index.PinnedCount(PinKind.Soft),
                HardPinned = index.PinnedCount(PinKind.Hard),
                Leases = Volatile.Read(ref _counters.Leases),
                EvictedForRoom = _counters.EvictedForRoom,
                EvictedForQuota = _counters.EvictedForQuota,
                Expired = _counters.Expired,
                Removed = _counters.Removed,
                Promoted = _counters.Promoted,
                Demoted = _counters.Demoted,
                PayloadBytesPut = _counters.PayloadBytesPut,
                StoredBytesPut = _counters.StoredBytesPut,
                Puts = Interlocked.Read(ref _counters.Puts),
                Duplicates = Interlocked.Read(ref _counters.Duplicates),
                RefusedDisk = Interlocked.Read(ref _counters.RefusedDisk),
                RefusedPinned = Interlocked.Read(ref _counters.RefusedPinned),
                RefusedQuota = Interlocked.Read(ref _counters.RefusedQuota),
                MemoryHits = Interlocked.Read(ref _counters.MemoryHits),
                DiskHits = Interlocked.Read(ref _counters.DiskHits),
                Misses = Interlocked.Read(ref _counters.Misses),
                Damaged = Interlocked.Read(ref _counters.Damaged),
                Moved = Interlocked.Read(ref _counters.Moved),
                SegmentsCompacted = Interlocked.Read(ref _counters.SegmentsCompacted),
                WriteFailures = Interlocked.Read(ref _counters.WriteFailures),
                ReadFailures = Interlocked.Read(ref _counters.ReadFailures),
                Flushes = Interlocked.Read(ref _counters.Flushes),
                FlushFailures = Interlocked.Read(ref _counters.FlushFailures),
            };
        }
    }
}
