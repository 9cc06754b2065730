namespace Kimi.Mooncake.Store;

/// <content>Stored blocks become durable, in batches.</content>
internal sealed partial class StoreWriter
{
    private const int CommitTimeoutSeconds = 30;

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
            _catalog.Events.Tell();
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
}
