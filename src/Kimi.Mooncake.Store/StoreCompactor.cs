using Kimi.Mooncake.Core;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Store;

/// <summary>
/// Frees files: the blocks that live in the segment with the most dead bytes are appended to the log anew, and when the
/// copies are durable the file is deleted. Nothing that lives is lost on the way: until then it is found where it was.
/// </summary>
internal sealed class StoreCompactor : IDisposable
{
    // Blocks looked up under the lock at a time.
    private const int BatchStep = 64;

    // A segment of which less is dead is not worth writing anew: one in so many.
    private const int DeadShareMin = 20;

    private readonly KvBlockStoreOptions _options;
    private readonly StoreGeometry _geometry;
    private readonly BlockCatalog _catalog;
    private readonly StoreWriter _writer;
    private readonly RecordReader _reader;
    private readonly StoreCounters _counters;
    private readonly ILogger _logger;
    private readonly SemaphoreSlim _wanted = new(0, 1);
    private readonly SemaphoreSlim _gate = new(1, 1);
    private readonly byte[] _header;
    private readonly byte[] _stored;

    public StoreCompactor(
        KvBlockStoreOptions options, StoreGeometry geometry, BlockCatalog catalog, StoreWriter writer,
        RecordReader reader, StoreCounters counters, ILogger logger)
    {
        _options = options;
        _geometry = geometry;
        _catalog = catalog;
        _writer = writer;
        _reader = reader;
        _counters = counters;
        _logger = logger;
        // Only one compaction runs at a time, and one block is enough: the log's pages are the buffer.
        _header = GC.AllocateUninitializedArray<byte>(geometry.HeaderBytes, pinned: true);
        _stored = GC.AllocateUninitializedArray<byte>(geometry.PayloadBytes, pinned: true);
    }

    /// <summary>Asks for files to be freed, if there is too little room.</summary>
    public void Wake()
    {
        if (_wanted.CurrentCount > 0 || !IsShort())
        {
            return;
        }

        try
        {
            _wanted.Release();
        }
        catch (SemaphoreFullException)
        {
            // Another thread asked at the same time.
            return;
        }
    }

    /// <summary>Frees files whenever asked to, until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                await _wanted.WaitAsync(cancellationToken).ConfigureAwait(false);
                while (IsShort() && await CompactOneAsync(DeadShareMin, cancellationToken).ConfigureAwait(false))
                {
                }
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception exception) when (exception is not OutOfMemoryException)
            {
                StoreMessages.CompactionFailed(_logger, _options.Directory, exception.Message);
            }
        }
    }

    /// <summary>Moves together what lives, as long as that frees room.</summary>
    /// <param name="progress">Is told after each segment.</param>
    /// <param name="cancellationToken">Ends it between two blocks; what was done stays done.</param>
    public async ValueTask<StoreCompaction> CompactAsync(
        IProgress<StoreCompaction>? progress, CancellationToken cancellationToken)
    {
        var before = FileBytes();
        var segments = 0;
        StoreCompaction done;
        do
        {
            done = new StoreCompaction(segments, before, FileBytes());
            progress?.Report(done);
            segments++;
        }
        while (await CompactOneAsync(DeadShareMin, cancellationToken).ConfigureAwait(false));

        return done;
    }

    public void Dispose()
    {
        _wanted.Dispose();
        _gate.Dispose();
    }

    private bool IsShort()
    {
        lock (_catalog.Gate)
        {
            return _catalog.Segments.FileBytes > _geometry.CompactAboveBytes;
        }
    }

    private long FileBytes()
    {
        lock (_catalog.Gate)
        {
            return _catalog.Segments.FileBytes;
        }
    }

    private async ValueTask<bool> CompactOneAsync(int deadShare, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (Worst(deadShare) is not { } segment)
            {
                return false;
            }

            var complete = true;
            var keys = new List<(BlockKey Key, long Address)>(BatchStep);
            while (Take(segment, keys))
            {
                foreach (var (key, address) in keys)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    complete &= await MoveAsync(key, address, cancellationToken).ConfigureAwait(false);
                }

                if (!complete)
                {
                    break;
                }
            }

            await _writer.FlushAsync(cancellationToken).ConfigureAwait(false);
            _counters.SegmentsCompacted++;
            return complete && _writer.IsGone(segment);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>The finished segment with the most dead bytes, if that is a worthwhile share.</summary>
    private Segment? Worst(int deadShare)
    {
        lock (_catalog.Gate)
        {
            Segment? worst = null;
            foreach (var segment in _catalog.Segments.All)
            {
                if (_writer.IsFinished(segment) &&
                    (worst is null || Dead(segment) > Dead(worst)))
                {
                    worst = segment;
                }
            }

            return worst is not null && Dead(worst) * deadShare >= worst.FileBytes ? worst : null;
        }
    }

    // A page's last bytes are lost in the copy too: only what exceeds that is gained.
    private long Dead(Segment segment)
    {
        var lostPerPage = _geometry.PageBytes % _geometry.EntryBytes;
        return segment.FileBytes - segment.LiveBytes - (segment.FileBytes / _geometry.PageBytes * lostPerPage);
    }

    /// <summary>Blocks that are still to be moved, after those taken last; false when there are none.</summary>
    private bool Take(Segment segment, List<(BlockKey Key, long Address)> keys)
    {
        lock (_catalog.Gate)
        {
            var last = keys.Count > 0 ? _catalog.FindAt(keys[^1].Key, keys[^1].Address) : -1;
            keys.Clear();
            var id = last >= 0 ? _catalog.Index.Data(last).Next : segment.First;
            while (id >= 0 && keys.Count < BatchStep)
            {
                ref var block = ref _catalog.Index.Data(id);
                if ((block.Marks & BlockMarks.Moving) == 0)
                {
                    block.Marks |= BlockMarks.Moving;
                    keys.Add((_catalog.Index.KeyOf(id), block.Address));
                }

                id = block.Next;
            }
        }

        return keys.Count > 0;
    }

    /// <summary>Appends a copy of a block; false when the log has no room for it.</summary>
    private async ValueTask<bool> MoveAsync(BlockKey key, long address, CancellationToken cancellationToken)
    {
        var read = _reader.ReadRaw(address, key, _header, _stored, out var storedBytes);
        if (read != RecordRead.Intact)
        {
            lock (_catalog.Gate)
            {
                if (_catalog.FindAt(key, address) is >= 0 and var id)
                {
                    StoreMessages.BlockDamaged(_logger, new BlockKeyText(key));
                    _catalog.Remove(id, read == RecordRead.Damaged ? Loss.Damaged : Loss.DiskFailed);
                }
            }

            return true;
        }

        for (var attempt = 0; attempt < 2; attempt++)
        {
            if (TryAppend(key, address, storedBytes))
            {
                return true;
            }

            // The write buffer is full.
            await _writer.FlushAsync(cancellationToken).ConfigureAwait(false);
        }

        _writer.GiveUpMove(key, address);
        return false;
    }

    private unsafe bool TryAppend(in BlockKey key, long address, int storedBytes)
    {
        fixed (byte* header = _header, stored = _stored)
        {
            return _writer.TryAppendMove(key, address, header, stored, storedBytes);
        }
    }
}
