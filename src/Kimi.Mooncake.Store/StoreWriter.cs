using System.Buffers;
using Kimi.Mooncake.Core;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Store;

/// <summary>
/// The writing side: appends blocks to the log and makes them durable in batches. A block becomes durable in this
/// order: record in the segment file, file written down, index entry written down. Until then it stays in the memory
/// tier, or where it was before it was moved.
/// </summary>
internal sealed partial class StoreWriter : IDisposable
{
    private const int WaitStepMsMax = 20;

    private readonly KvBlockStoreOptions _options;
    private readonly StoreGeometry _geometry;
    private readonly SegmentDevice _device;
    private readonly StoreLog _log;
    private readonly BlockCatalog _catalog;
    private readonly StoreCounters _counters;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly AutoResetEvent _progress;
    private readonly Lock _appendGate = new();
    private readonly SemaphoreSlim _flushGate = new(1, 1);
    private readonly SemaphoreSlim _flushWanted = new(0, 1);
    private List<Appended> _pending = [];
    private long _refuseUntil;

    public StoreWriter(
        KvBlockStoreOptions options, StoreGeometry geometry, SegmentDevice device, StoreLog log, BlockCatalog catalog,
        StoreCounters counters, AutoResetEvent progress, TimeProvider time, ILogger logger)
    {
        _options = options;
        _geometry = geometry;
        _device = device;
        _log = log;
        _catalog = catalog;
        _counters = counters;
        _progress = progress;
        _time = time;
        _logger = logger;
    }

    /// <summary>A record that waits for the disk; of a block that moves, From says where it is until then.</summary>
    private readonly record struct Appended(BlockKey Key, long Address, int Bytes, long From)
    {
        public bool IsMove => From != StoredBlock.Nowhere;

        /// <summary>Where the block is found if nothing happened to it meanwhile.</summary>
        public long FoundAt => IsMove ? From : Address;
    }

    /// <summary>Whether puts are refused for now because the disk failed or does not keep up.</summary>
    public bool IsRefusing => _time.GetTimestamp() < Interlocked.Read(ref _refuseUntil);

    /// <summary>Is told when files are to be freed.</summary>
    public Action? WantsRoom { get; set; }

    /// <summary>Pins a slot for a block to come; -1 when the disk did not keep up in time.</summary>
    public int TakeSlot()
    {
        var started = _time.GetTimestamp();
        var looksLeft = LooksMax();
        while (true)
        {
            lock (_catalog.Gate)
            {
                var slot = _catalog.Slots.TakeFree();
                if (slot < 0 && _catalog.TryDemote())
                {
                    slot = _catalog.Slots.TakeFree();
                }

                // Waiting until every slot is taken would make the next put wait for a whole flush.
                if (slot < 0 || _pending.Count * 2 > _geometry.SlotCount)
                {
                    RequestFlush();
                }

                if (slot >= 0)
                {
                    return slot;
                }
            }

            if (looksLeft-- > 0)
            {
                continue;
            }

            looksLeft = LooksMax();
            if (!WaitForProgress(started))
            {
                RefuseForAWhile();
                return MemorySlots.None;
            }
        }
    }

    /// <summary>
    /// Stores the block that lies in a pinned slot, its layers' checksums with it, and that nobody else is storing. The
    /// slot is the block's when it is stored, and else free.
    /// </summary>
    /// <returns>False when the disk did not keep up in time, or nothing may go that would make room.</returns>
    public unsafe bool TryStore(in BlockKey key, in BlockKey parent, int slot, BlockAttributes attributes)
    {
        var memory = _catalog.Slots.Pointer(slot);
        var packed = _options.Compression == StoreCompression.None
            ? null
            : ArrayPool<byte>.Shared.Rent(_geometry.PayloadBytes);
        var stored = false;
        try
        {
            var packedBytes = packed is null
                ? 0
                : BlockCompressor.Pack(new ReadOnlySpan<byte>(memory, _geometry.PayloadBytes), packed);
            var header = HeaderOf(key, parent, attributes, packed.AsSpan(0, packedBytes));
            fixed (byte* pack = packed)
            {
                stored = HasRoom(header) && TryAppend(header, slot, packedBytes == 0 ? memory : pack);
            }

            return stored;
        }
        finally
        {
            if (packed is not null)
            {
                ArrayPool<byte>.Shared.Return(packed);
            }

            lock (_catalog.Gate)
            {
                _catalog.Slots.Unpin(slot);
            }
        }
    }

    /// <summary>Call after <see cref="RunAsync"/> has ended.</summary>
    public void Dispose()
    {
        _flushGate.Dispose();
        _flushWanted.Dispose();
    }

    private int LooksMax() => 2 + (2 * _geometry.SlotCount / MemorySlots.ReclaimStepsMax);

    private BlockHeader HeaderOf(
        in BlockKey key, in BlockKey parent, BlockAttributes attributes, ReadOnlySpan<byte> packed)
    {
        var now = _catalog.NowMs;
        var retention = attributes.Retention;
        var kept = new StoredRetention(
            retention.Pin,
            retention.Pin == PinKind.None ? 0 : EndOf(retention.PinSeconds, now),
            EndOf(retention.LifetimeSeconds, now),
            retention.Priority);
        return packed.IsEmpty
            ? new BlockHeader(
                key, parent, _geometry.PayloadBytes, 0, _geometry.BlockTokens, kept, now, attributes.Class,
                BlockEncoding.Plain, attributes.Tenant)
            : new BlockHeader(
                key, parent, packed.Length, Crc32C.Finish(Crc32C.Append(Crc32C.Start, packed)),
                _geometry.BlockTokens, kept, now, attributes.Class, BlockEncoding.ShuffledBrotli, attributes.Tenant);
    }

    private static long EndOf(int seconds, long nowMs) => seconds == 0 ? long.MaxValue : nowMs + (seconds * 1000L);

    private unsafe bool TryAppend(in BlockHeader header, int slot, byte* stored)
    {
        var bytes = ArrayPool<byte>.Shared.Rent(_geometry.HeaderBytes);
        var started = _time.GetTimestamp();
        try
        {
            BlockRecord.Write(
                bytes.AsSpan(0, _geometry.HeaderBytes), _geometry.Format, header, _catalog.Slots.Checksums(slot));
            fixed (byte* head = bytes)
            {
                while (!TryAppend(header, slot, head, stored))
                {
                    RequestFlush();
                    WantsRoom?.Invoke();
                    if (!WaitForProgress(started))
                    {
                        RefuseForAWhile();
                        Interlocked.Increment(ref _counters.RefusedDisk);
                        return false;
                    }
                }
            }

            return true;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    private unsafe bool TryAppend(in BlockHeader header, int slot, byte* head, byte* stored)
    {
        lock (_appendGate)
        {
            // The last free segment belongs to the blocks that are moved: without it no file can be freed.
            if (!HasFileRoom(_geometry.SegmentBytes) ||
                !_log.TryAppend(head, stored, header.StoredBytes, out var address))
            {
                return false;
            }

            lock (_catalog.Gate)
            {
                var bytes = _geometry.EntryBytesOf(header.StoredBytes);
                var id = _catalog.Add(header, bytes, address, BlockMarks.None, _catalog.NowMs);
                _catalog.Own(slot, id);
                _pending.Add(new Appended(header.Key, address, bytes, StoredBlock.Nowhere));
                _counters.PayloadBytesPut += _geometry.PayloadBytes;
                _counters.StoredBytesPut += header.StoredBytes;
            }

            return true;
        }
    }

    private bool HasFileRoom(long spareBytes)
    {
        lock (_catalog.Gate)
        {
            return _catalog.Segments.FileBytes + _geometry.PageBytes + spareBytes <= _geometry.LogBytesMax;
        }
    }

    private bool WaitForProgress(long started)
    {
        var left = _options.PutWaitMsMax - (int)_time.GetElapsedTime(started).TotalMilliseconds;
        if (left <= 0)
        {
            return false;
        }

        _progress.WaitOne(Math.Min(left, WaitStepMsMax));
        return true;
    }

    private void RequestFlush()
    {
        if (_flushWanted.CurrentCount > 0)
        {
            return;
        }

        try
        {
            _flushWanted.Release();
        }
        catch (SemaphoreFullException)
        {
            // Another thread asked between the look and the call: the flush is wanted either way.
            return;
        }
    }

    // Where one put has waited in vain, the next ones would too, each with blocks that its caller cannot use meanwhile.
    private void RefuseForAWhile()
    {
        var pause = _options.RetryAfterErrorMs * (_time.TimestampFrequency / 1000);
        Interlocked.Exchange(ref _refuseUntil, _time.GetTimestamp() + pause);
    }
}
