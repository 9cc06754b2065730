using Kimi.Mooncake.Core;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Store;

/// <summary>
/// The writing side: appends blocks to the log, makes them durable in batches, and keeps the log within its limit. A
/// block becomes durable in this order: record in the segment file, file written down, index entry written down. Until
/// then it stays in the memory tier.
/// </summary>
internal sealed class StoreWriter : IDisposable
{
    private const int WaitStepMsMax = 20;
    private const int CommitTimeoutSeconds = 30;

    // Blocks in use may fill at most this share of the room that dropping their segment makes.
    private const int RewriteShare = 2;

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

    /// <summary>Stores a block that nobody else is storing.</summary>
    /// <returns>False when the disk did not keep up in time.</returns>
    public unsafe bool TryStore(in BlockKey key, in BlockKey parent, ReadOnlySpan<byte> payload)
    {
        var started = _time.GetTimestamp();
        var slot = TakeSlot(started);
        if (slot < 0)
        {
            RefuseForAWhile();
            return false;
        }

        var memory = _catalog.SlotPointer(slot);
        payload.CopyTo(new Span<byte>(memory, payload.Length));
        var header = stackalloc byte[BlockRecord.HeaderBytes];
        BlockRecord.WriteHeader(
            new Span<byte>(header, BlockRecord.HeaderBytes), key, parent, _geometry.Identity,
            new ReadOnlySpan<byte>(memory, payload.Length));
        lock (_appendGate)
        {
            var appended = TryAppend(header, memory, started, out var address);
            lock (_catalog.Gate)
            {
                if (appended)
                {
                    var block = new StoredBlock { Key = key, Address = address };
                    _catalog.Add(block);
                    _catalog.Own(slot, block);
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

    /// <summary>Makes everything stored before the call durable, then makes room for what comes next.</summary>
    /// <returns>False when the disk refused a part; that part is dropped, or tried again by the next flush.</returns>
    public async ValueTask<bool> FlushAsync(CancellationToken cancellationToken)
    {
        await _flushGate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            var batch = TakePending();
            var complete = batch.Count == 0 || await FlushAsync(batch, cancellationToken).ConfigureAwait(false);
            Trim();
            return complete;
        }
        finally
        {
            _flushGate.Release();
            _progress.Set();
        }
    }

    /// <summary>Flushes at every interval, or sooner when puts wait for it, until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var complete = true;
        while (!cancellationToken.IsCancellationRequested)
        {
            // What failed is tried again at the pace of the pause, or a full disk would fill the log as well.
            var pauseMs = complete ? 0 : _options.RetryAfterErrorMs;
            try
            {
                complete = false;
                await _flushWanted
                    .WaitAsync(Math.Max(_options.FlushIntervalMs, pauseMs), cancellationToken).ConfigureAwait(false);
                complete = await FlushAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception exception) when (exception is not OutOfMemoryException)
            {
                // The loop outlives whatever a flush meets: without it nothing would ever become durable again.
                NoteFailure();
                StoreMessages.FlushFailed(_logger, _options.Directory, exception.Message);
            }
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

    private List<Appended> TakePending()
    {
        lock (_catalog.Gate)
        {
            var batch = _pending;
            _pending = new List<Appended>(batch.Count);
            return batch;
        }
    }

    private async ValueTask<bool> FlushAsync(List<Appended> batch, CancellationToken cancellationToken)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(TimeSpan.FromSeconds(CommitTimeoutSeconds));
        try
        {
            await _log.CommitAsync(timeout.Token).ConfigureAwait(false);
        }
        catch (Exception exception) when (exception is not OutOfMemoryException)
        {
            Requeue(batch);
            cancellationToken.ThrowIfCancellationRequested();
            NoteFailure();
            StoreMessages.FlushFailed(_logger, _options.Directory, exception.Message);
            return false;
        }

        var complete = DropFailed(batch);
        foreach (var segment in batch.GroupBy(entry => _geometry.SegmentOf(entry.Address)))
        {
            complete &= MakeDurable(segment.Key, [.. segment]);
        }

        Interlocked.Increment(ref _counters.Flushes);
        return complete;
    }

    private void Requeue(IEnumerable<Appended> batch)
    {
        lock (_catalog.Gate)
        {
            _pending.InsertRange(0, batch);
        }
    }

    /// <summary>Forgets blocks that the disk refused; true when there were none.</summary>
    private bool DropFailed(List<Appended> batch)
    {
        var dropped = 0;
        string? reason = null;
        while (_device.TryTakeFailure(out var range))
        {
            reason ??= range.Reason;
            lock (_catalog.Gate)
            {
                // Pages that filled up after the batch was taken are written too, and can fail too.
                dropped += DropWithin(batch, range) + DropWithin(_pending, range);
            }
        }

        if (reason is not null)
        {
            Interlocked.Add(ref _counters.WriteFailures, dropped);
            NoteFailure();
            StoreMessages.WriteRefused(_logger, _options.Directory, reason, dropped);
        }

        return reason is null;
    }

    private int DropWithin(List<Appended> blocks, FailedRange range) => blocks.RemoveAll(entry =>
        entry.Address < range.Address + range.Bytes && range.Address < entry.Address + _geometry.EntryBytes &&
        (!_catalog.IsCurrent(entry.Block, entry.Address) || _catalog.Remove(entry.Block.Key)));

    private bool MakeDurable(int segment, Appended[] batch)
    {
        IndexedBlock[] entries;
        lock (_catalog.Gate)
        {
            batch = Array.FindAll(batch, entry => _catalog.IsCurrent(entry.Block, entry.Address));
            entries = Array.ConvertAll(batch, entry => new IndexedBlock(entry.Block.Key, entry.Address));
        }

        try
        {
            if (_options.SyncToDrive)
            {
                _device.FlushToDisk(segment);
            }

            // A segment that was dropped meanwhile must not come back as an index without data.
            if (entries.Length > 0 && segment >= _geometry.SegmentOf(_log.BeginAddress))
            {
                SegmentIndex.Append(_device.IndexPath(segment), _geometry, segment, entries, _options.SyncToDrive);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            NoteFailure();
            StoreMessages.WriteRefused(_logger, _options.Directory, exception.Message, 0);
            Requeue(batch);
            return false;
        }

        lock (_catalog.Gate)
        {
            foreach (var (block, address) in batch)
            {
                if (_catalog.IsCurrent(block, address))
                {
                    _catalog.MarkDurable(block);
                }
            }
        }

        return true;
    }

    private void NoteFailure()
    {
        Interlocked.Increment(ref _counters.FlushFailures);
        RefuseForAWhile();
    }

    // Where one put has waited in vain, the next ones would too, each with blocks that its caller cannot use meanwhile.
    private void RefuseForAWhile()
    {
        var pause = _options.RetryAfterErrorMs * (_time.TimestampFrequency / 1000);
        Interlocked.Exchange(ref _refuseUntil, _time.GetTimestamp() + pause);
    }

    /// <summary>Drops old segments until one more record fits; under the append gate.</summary>
    private bool MakeRoom()
    {
        while (!_log.HasRoom)
        {
            if (!TryDropOldest())
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>
    /// Keeps a segment's worth of the limit free, so that puts need not drop segments themselves, and carries blocks
    /// that are in use over to the end of the log.
    /// </summary>
    private void Trim()
    {
        while (_log.DiskBytes > _geometry.LogBytesMax - _geometry.SegmentBytes &&
            _log.OldestSegment is var oldest and >= 0)
        {
            List<StoredBlock> hot;
            lock (_catalog.Gate)
            {
                hot = _catalog.HotBlocks(oldest);
            }

            var most = (int)(_geometry.SegmentBytes / _geometry.EntryBytes / RewriteShare);
            foreach (var block in hot.Take(most))
            {
                Rewrite(block);
            }

            lock (_appendGate)
            {
                if (_log.OldestSegment == oldest)
                {
                    TryDropOldest();
                }
            }
        }
    }

    private bool TryDropOldest()
    {
        var oldest = _log.OldestSegment;
        if (oldest < 0)
        {
            return false;
        }

        lock (_catalog.Gate)
        {
            foreach (var block in _catalog.TakeSegment(oldest))
            {
                if (_geometry.SegmentOf(block.Address) == oldest && _catalog.IsCurrent(block, block.Address))
                {
                    _catalog.Remove(block.Key);
                    Interlocked.Increment(ref _counters.Evicted);
                }
            }
        }

        _log.DropOldestSegment();
        return true;
    }

    private unsafe void Rewrite(StoredBlock block)
    {
        var address = block.Address;
        var slot = StoredBlock.NoSlot;
        lock (_catalog.Gate)
        {
            if (_catalog.IsCurrent(block, address))
            {
                slot = _catalog.TakeSlot();
            }
        }

        if (slot < 0)
        {
            return;
        }

        var header = stackalloc byte[BlockRecord.HeaderBytes];
        var memory = _catalog.SlotPointer(slot);
        // The record goes on as it was, with its own checksum, so that damage in between cannot be sealed in.
        var intact = _log.TryRead(
            address, block.Key, new Span<byte>(memory, _geometry.PayloadBytes),
            new Span<byte>(header, BlockRecord.HeaderBytes));
        lock (_appendGate)
        {
            var moved = 0L;
            var appended = intact && _log.HasRoom && _log.TryAppend(header, memory, out moved);
            lock (_catalog.Gate)
            {
                if (appended && _catalog.IsCurrent(block, address))
                {
                    if (block.Slot == StoredBlock.NoSlot)
                    {
                        _catalog.Own(slot, block);
                    }

                    _catalog.Move(block, moved);
                    _pending.Add(new Appended(block, moved));
                    Interlocked.Increment(ref _counters.Rewritten);
                }

                _catalog.Unpin(slot);
            }
        }
    }
}
