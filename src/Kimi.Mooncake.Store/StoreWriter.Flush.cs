using System.Runtime.InteropServices;

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

    /// <summary>
    /// Writes a segment's index: first what was removed, then what is new, then what is kept otherwise.
    /// </summary>
    private bool Write(int segment, SegmentChange change)
    {
        var entries = new List<IndexEntry>(change.Appended.Count + change.Amendments.Count);
        var written = new List<Appended>(change.Appended.Count);
        lock (_catalog.Gate)
        {
            // A segment that was deleted must not come back as an index without data.
            if (_catalog.Segments.Find(segment) is null)
            {
                return true;
            }

            AddAmendments(segment, change.Amendments, IndexEntryKind.Removed, entries);
        }

        Collect(change.Appended, entries, written);
        lock (_catalog.Gate)
        {
            AddAmendments(segment, change.Amendments, IndexEntryKind.Retention, entries);
        }

        try
        {
            _catalog.TenantNames.Save(_options.SyncToDrive);
            if (_options.SyncToDrive)
            {
                _device.FlushToDisk(segment);
            }

            if (entries.Count > 0)
            {
                SegmentIndex.Append(
                    _device.IndexPath(segment), _geometry.Format.Identity, segment, CollectionsMarshal.AsSpan(entries),
                    _options.SyncToDrive);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            NoteFailure();
            StoreMessages.WriteRefused(_logger, _options.Directory, exception.Message, 0);
            Requeue(written, change.Amendments);
            return false;
        }

        Settle(segment, written, entries.Count);
        return true;
    }

    private void AddAmendments(
        int segment, List<Amendment> amendments, IndexEntryKind kind, List<IndexEntry> entries)
    {
        var now = _catalog.NowMs;
        foreach (var amendment in amendments.Where(amendment => amendment.Kind == kind).Distinct())
        {

            if (kind == IndexEntryKind.Removed)
            {
                entries.Add(default(IndexEntry) with { Kind = kind, Key = amendment.Key, StoredAtMs = now });
            }
            else if (_catalog.Find(amendment.Key) is >= 0 and var id)
            {
                var address = _catalog.Index.Data(id).Address;
                if (_geometry.SegmentOf(address) == segment && _catalog.IsDurable(id))
                {
                    entries.Add(_catalog.EntryOf(id, address, kind, now));
                }
                else
                {
                    // It moved meanwhile, or its first entry is still to be written: to be said there and then.
                    _catalog.NoteAmendment(amendment with { Segment = _geometry.SegmentOf(address) });
                }
            }
        }
    }

    private void Collect(List<Appended> appended, List<IndexEntry> entries, List<Appended> written)
    {
        for (var at = 0; at < appended.Count; at += BatchStep)
        {
            lock (_catalog.Gate)
            {
                var now = _catalog.NowMs;
                foreach (var entry in CollectionsMarshal.AsSpan(appended)[at..Math.Min(at + BatchStep, appended.Count)])
                {
                    if (_catalog.FindAt(entry.Key, entry.FoundAt) is >= 0 and var id)
                    {
                        entries.Add(_catalog.EntryOf(id, entry.Address, IndexEntryKind.Block, now));
                        written.Add(entry);
                    }
                    else if (entry.IsMove)
                    {
                        EndMove(entry);
                    }
                }
            }
        }
    }

    private void Settle(int segment, List<Appended> written, int entries)
    {
        for (var at = 0; at < Math.Max(1, written.Count); at += BatchStep)
        {
            lock (_catalog.Gate)
            {
                if (at == 0 && _catalog.Segments.Find(segment) is { } found)
                {
                    found.IndexEntries += entries;
                }

                for (var i = at; i < Math.Min(at + BatchStep, written.Count); i++)
                {
                    Settle(written[i], segment);
                }
            }
        }
    }

    private void Settle(in Appended entry, int segment)
    {
        var id = _catalog.FindAt(entry.Key, entry.FoundAt);
        if (id < 0)
        {
            // It went while its entry was being written.
            _catalog.NoteAmendment(new Amendment(IndexEntryKind.Removed, entry.Key, segment));
        }
        else if (entry.IsMove)
        {
            _catalog.Move(id, entry.Address);
            Interlocked.Increment(ref _counters.Moved);
        }
        else
        {
            _catalog.MarkDurable(id);
        }

        if (entry.IsMove)
        {
            EndMove(entry);
        }
    }

    private void NoteFailure()
    {
        Interlocked.Increment(ref _counters.FlushFailures);
        RefuseForAWhile();
    }

    private sealed record SegmentChange(List<Appended> Appended, List<Amendment> Amendments);
}
