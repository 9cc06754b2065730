using Kimi.Mooncake.Core;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Store;

/// <summary>
/// The writing side: appends blocks to the log, makes them durable in batches, and keeps the log within its limit. A
/// block becomes durable in this order: record in the segment file, file written down, index entry written down. Until
/// then it stays in the memory tier.
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

    private readonly record struct Appended(StoredBlock Block, long Address);

    /// <summary>Whether puts are refused for now because the disk failed or does not keep up.</summary>
    public bool IsRefusing => _time.GetTimestamp() < Interlocked.Read(ref _refuseUntil);

    /// <summary>Pins a slot for a block to come; -1 when the disk did not keep up in time.</summary>
    public int TakeSlot()
    {
        var slot = TakeSlot(_time.GetTimestamp());
        if (slot < 0)
        {
            RefuseForAWhile();
        }

        return slot;
    }

    /// <summary>Stores the block that lies in a pinned slot and that nobody else is storing.</summary>
    /// <returns>False when the disk did not keep up in time; the slot is free again.</returns>
    public unsafe bool TryStore(in BlockKey key, in BlockKey parent, int slot, BlockAttributes attributes, long now)
    {
        var started = _time.GetTimestamp();
        var memory = _catalog.SlotPointer(slot);
        var header = stackalloc byte[BlockRecord.HeaderBytes];
        BlockRecord.WriteHeader(
            new Span<byte>(header, BlockRecord.HeaderBytes), key, parent, _geometry.Identity,
            new ReadOnlySpan<byte>(memory, _geometry.PayloadBytes));
        lock (_appendGate)
        {
            var appended = TryAppend(header, memory, started, out var address);
            lock (_catalog.Gate)
            {
                if (appended)
                {
                    var block = new StoredBlock { Key = key, Address = address, Tenant = attributes.Tenant, Parent = parent };
                    block.Retain(attributes.Retention, now);
                    _catalog.Add(block);
                    _catalog.Own(slot, block);
                    _catalog.Events.NoteStored(key, parent);
                    _pending.Add(new Appended(block, address));
                }

                _catalog.Unpin(slot);
            }

            if (!appended)
            {
                RefuseForAWhile();
            }

            return appended;
        }
    }

    /// <summary>Call after <see cref="RunAsync"/> has ended.</summary>
    public void Dispose()
    {
        _flushGate.Dispose();
        _flushWanted.Dispose();
    }

    private int TakeSlot(long started)
    {
        while (true)
        {
            lock (_catalog.Gate)
            {
                var slot = _catalog.TakeSlot();
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

            if (!WaitForProgress(started))
            {
                return StoredBlock.NoSlot;
            }
        }
    }

    private unsafe bool TryAppend(byte* header, byte* payload, long started, out long address)
    {
        while (!MakeRoom() || !_log.TryAppend(header, payload, out address))
        {
            RequestFlush();
            if (!WaitForProgress(started))
            {
                address = 0;
                return false;
            }
        }

        return true;
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
