namespace Kimi.Mooncake.Store;

/// <content>Stored blocks become durable, in batches.</content>
internal sealed partial class StoreWriter
{
    private const int CommitTimeoutSeconds = 30;

    // Blocks looked at under the lock at a time.
    private const int BatchStep = 256;

    /// <summary>Makes everything stored before the call durable, then makes room for what comes next.</summary>
    /// <returns>False when the disk refused a part; that part is dropped, or tried again by the next flush.</returns>
    public async ValueTask<bool> FlushAsync(CancellationToken cancellationToken)
    {
        await _flushGate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            var batch = TakePending(out var amendments);
            var complete = batch.Count + amendments.Count == 0 ||
                await FlushAsync(batch, amendments, cancellationToken).ConfigureAwait(false);
            Trim();
            DeleteDeadSegments();
            ShortenIndexes();
            return complete;
        }
        finally
        {
            _flushGate.Release();
            _progress.Set();
            WantsRoom?.Invoke();
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

    private List<Appended> TakePending(out List<Amendment> amendments)
    {
        lock (_catalog.Gate)
        {
            var batch = _pending;
            _pending = new List<Appended>(Math.Min(batch.Count, BatchStep));
            amendments = _catalog.TakeAmendments();
            return batch;
        }
    }

    private async ValueTask<bool> FlushAsync(
        List<Appended> batch, List<Amendment> amendments, CancellationToken cancellationToken)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(TimeSpan.FromSeconds(CommitTimeoutSeconds));
        try
        {
            await _log.CommitAsync(timeout.Token).ConfigureAwait(false);
        }
        catch (Exception exception) when (exception is not OutOfMemoryException)
        {
            Requeue(batch, amendments);
            cancellationToken.ThrowIfCancellationRequested();
            NoteFailure();
            StoreMessages.FlushFailed(_logger, _options.Directory, exception.Message);
            return false;
        }

        var complete = DropFailed(batch);
        var bySegment = new SortedDictionary<int, SegmentChange>();
        foreach (var entry in batch)
        {
            ChangeOf(bySegment, _geometry.SegmentOf(entry.Address)).Appended.Add(entry);
        }

        foreach (var amendment in amendments)
        {
            ChangeOf(bySegment, amendment.Segment).Amendments.Add(amendment);
        }

        foreach (var (segment, change) in bySegment)
        {
            complete &= Write(segment, change);
        }

        Interlocked.Increment(ref _counters.Flushes);
        return complete;
    }

    private static SegmentChange ChangeOf(SortedDictionary<int, SegmentChange> changes, int segment)
    {
        if (!changes.TryGetValue(segment, out var change))
        {
            changes[segment] = change = new SegmentChange([], []);
        }

        return change;
    }

    private void Requeue(IEnumerable<Appended> batch, IEnumerable<Amendment> amendments)
    {
        lock (_catalog.Gate)
        {
            _pending.InsertRange(0, batch);
            _catalog.PutAmendmentsBack(amendments);
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
            // A record of the range may be in the log, and its append about to note it: that is waited for.
            lock (_appendGate)
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

    private int DropWithin(List<Appended> blocks, FailedRange range)
    {
        var lost = 0;
        blocks.RemoveAll(entry =>
        {
            if (entry.Address >= range.Address + range.Bytes || range.Address >= entry.Address + entry.Bytes)
            {
                return false;
            }

            if (entry.IsMove)
            {
                // It stays where it is.
                EndMove(entry);
            }
            else if (_catalog.FindAt(entry.Key, entry.Address) is >= 0 and var id)
            {
                _catalog.Remove(id, Loss.DiskFailed);
                lost++;
            }

            return true;
        });
        return lost;
    }

    private void EndMove(in Appended entry)
    {
        if (_catalog.Segments.Find(_geometry.SegmentOf(entry.Address)) is { } segment)
        {
            segment.Arriving--;
        }

        if (_catalog.FindAt(entry.Key, entry.From) is >= 0 and var id)
        {
            _catalog.Index.Data(id).Marks &= ~BlockMarks.Moving;
        }
    }

    private void NoteFailure()
    {
        Interlocked.Increment(ref _counters.FlushFailures);
        RefuseForAWhile();
    }

    private sealed record SegmentChange(List<Appended> Appended, List<Amendment> Amendments);
}
