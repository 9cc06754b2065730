namespace Kimi.Mooncake.Store;

/// <content>What earlier runs left.</content>
public sealed partial class KvBlockStore
{
    /// <summary>
    /// Whether what is found belongs to another version, model or layout; the manifest is ours from here on.
    /// </summary>
    private bool IsOfNoUse(IReadOnlyList<FoundSegment> found)
    {
        var manifest = StoreManifest.Read(_options.Directory);
        var other = manifest is not null && manifest.Format.Identity != _geometry.Format.Identity;
        var old = manifest is null && StoreScanner.IsVersion1(_options.Directory, found);
        if (old)
        {
            StoreMessages.OldVersionDropped(_logger, _options.Directory, StoreGeometry.FormatVersion);
        }
        else if (other)
        {
            StoreMessages.OtherModelDropped(_logger, _options.Directory);
        }

        if (manifest is null || other)
        {
            StoreManifest.Of(_geometry).Write(_options.Directory, _options.SyncToDrive);
        }

        return old || other;
    }

    private void Scan(IReadOnlyList<FoundSegment> found, bool drop)
    {
        try
        {
            _scanner.Run(found, drop, _stop.Token);
            if (found.Count > 0)
            {
                StoreMessages.Scanned(
                    _logger, _options.Directory, _scanner.State.Blocks, Interlocked.Read(ref _counters.Damaged),
                    _time.GetElapsedTime(_openedAt).TotalMilliseconds);
            }
        }
        catch (Exception exception)
        {
            // Whatever it was, the store serves what it found until then; the files stay for the next start.
            Interlocked.Increment(ref _counters.ReadFailures);
            StoreMessages.ScanFailed(_logger, _options.Directory, exception.Message);
        }
        finally
        {
            if (!_stop.IsCancellationRequested)
            {
                EndScan();
            }
        }
    }

    // Compaction waits for the end of the scan, however it ended.
    private void EndScan()
    {
        lock (_catalog.Gate)
        {
            if (_catalog.IsScanning)
            {
                _catalog.EndScan();
            }
        }

        _compactor.Wake();
    }
}
