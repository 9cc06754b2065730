using FASTER.core;

namespace Kimi.Mooncake.Store;

/// <summary>
/// FASTER's log as the store uses it: FASTER hands out addresses, keeps the write buffer and writes pages. Only one
/// thread appends at a time. FASTER never reads the files nor truncates: each process begins a log of its own behind
/// the last segment that it finds, and everything is reached by the addresses in the segment indexes. Addresses here
/// count from the start of segment 0, FASTER's from the start of its log.
/// </summary>
internal sealed unsafe class StoreLog : IDisposable
{
    private readonly FasterLog _log;
    private readonly FasterLogSettings _settings;
    private readonly SegmentDevice _device;
    private readonly StoreGeometry _geometry;
    private readonly long _base;

    public StoreLog(StoreGeometry geometry, SegmentDevice device)
    {
        _geometry = geometry;
        _device = device;
        _base = geometry.SegmentStart(device.FirstSegment);
        _settings = new FasterLogSettings
        {
            LogDevice = device,
            PageSize = geometry.PageBytes,
            MemorySize = geometry.LogBufferBytes,
            SegmentSize = geometry.SegmentBytes,
            LogCommitManager = new NoCommitFiles(),
            TryRecoverLatest = false,
        };
        _log = new FasterLog(_settings);
        if (_log.HeaderSize != StoreGeometry.LogEntryHeaderBytes)
        {
            throw new StoreException($"the log's entry header has {_log.HeaderSize} bytes");
        }
    }

    /// <summary>Where the next record goes.</summary>
    public long TailAddress => _base + _log.TailAddress;

    /// <summary>Everything before this address was handed to the files.</summary>
    public long FlushedUntil => _base + _log.FlushedUntilAddress;

    /// <summary>Appends a record; false when the write buffer waits for the disk.</summary>
    /// <param name="header">The record's header.</param>
    /// <param name="stored">Its payload as it goes to disk.</param>
    /// <param name="storedBytes">Bytes of that.</param>
    /// <param name="address">Where the record begins.</param>
    public bool TryAppend(byte* header, byte* stored, int storedBytes, out long address)
    {
        var entry = new RecordEntry(header, _geometry.HeaderBytes, stored, storedBytes);
        var appended = _log.TryEnqueue(entry, out address);
        address += _base;
        return appended;
    }

    /// <summary>Writes everything appended so far to the files; failures are noted by the device.</summary>
    public ValueTask CommitAsync(CancellationToken cancellationToken) => _log.CommitAsync(cancellationToken);

    public void Dispose()
    {
        _log.Dispose();
        _settings.Dispose();
        _device.Dispose();
    }

    private readonly struct RecordEntry(byte* header, int headerBytes, byte* stored, int storedBytes) : ILogEnqueueEntry
    {
        private readonly byte* _header = header;
        private readonly byte* _stored = stored;

        public int SerializedLength => headerBytes + storedBytes;

        public void SerializeTo(Span<byte> dest)
        {
            new ReadOnlySpan<byte>(_header, headerBytes).CopyTo(dest);
            new ReadOnlySpan<byte>(_stored, storedBytes).CopyTo(dest[headerBytes..]);
        }
    }

    /// <summary>The segment indexes say what is stored; the log's own commit files would be a second truth.</summary>
    private sealed class NoCommitFiles : ILogCommitManager
    {
        public void Commit(
            long beginAddress, long untilAddress, byte[] commitMetadata, long commitNum, bool forceWriteMetadata)
        {
        }

        public byte[] GetCommitMetadata(long commitNum) => [];

        public IEnumerable<long> ListCommits() => [];

        public void RemoveCommit(long commitNum)
        {
        }

        public void RemoveAllCommits()
        {
        }

        public void OnRecovery(long commitNum)
        {
        }

        public void Dispose()
        {
        }
    }
}
