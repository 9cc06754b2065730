using FASTER.core;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>
/// FASTER's log as the store uses it: FASTER hands out addresses, keeps the write buffer, writes pages and drops
/// segments. Only one thread appends or truncates at a time. FASTER never reads the files: after a restart the log goes
/// on at a fresh page, and what lies before it is reached by the addresses in the segment indexes.
/// </summary>
internal sealed unsafe class StoreLog : IDisposable
{
    private readonly FasterLog _log;
    private readonly FasterLogSettings _settings;
    private readonly SegmentDevice _device;
    private readonly StoreGeometry _geometry;

    public StoreLog(StoreGeometry geometry, SegmentDevice device, long beginAddress, long startAddress)
    {
        _geometry = geometry;
        _device = device;
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

        device.StartAt(geometry.SegmentOf(beginAddress));
        if (startAddress > 0)
        {
            _log.Initialize(beginAddress, startAddress);
        }

        BeginAddress = beginAddress;
    }

    /// <summary>Start of the oldest segment.</summary>
    public long BeginAddress { get; private set; }

    /// <summary>Where the next record goes.</summary>
    public long TailAddress => _log.TailAddress;

    /// <summary>Bytes of the log's files, up to a page more than there are.</summary>
    public long DiskBytes => TailAddress - BeginAddress;

    /// <summary>Whether one more record fits within the limit.</summary>
    public bool HasRoom => DiskBytes + _geometry.EntryBytes + _geometry.PageBytes <= _geometry.LogBytesMax;

    /// <summary>The oldest segment if all of it is on disk and it is not the one being written, otherwise -1.</summary>
    public int OldestSegment
    {
        get
        {
            var end = BeginAddress + _geometry.SegmentBytes;
            return end <= _log.FlushedUntilAddress && end <= TailAddress ? _geometry.SegmentOf(BeginAddress) : -1;
        }
    }

    /// <summary>Appends a record; false when the write buffer waits for the disk.</summary>
    public bool TryAppend(byte* header, byte* payload, out long address) =>
        _log.TryEnqueue(new RecordEntry(header, payload, _geometry.PayloadBytes), out address);

    /// <summary>Writes everything appended so far to the files; failures are noted by the device.</summary>
    public ValueTask CommitAsync(CancellationToken cancellationToken) => _log.CommitAsync(cancellationToken);

    /// <summary>Drops the oldest segment.</summary>
    public void DropOldestSegment()
    {
        // FASTER deletes on a pool thread, some time later; the limit holds at every moment.
        _device.DeleteFiles(_geometry.SegmentOf(BeginAddress));
        BeginAddress += _geometry.SegmentBytes;
        _log.UnsafeShiftBeginAddress(BeginAddress, snapToPageStart: false, truncateLog: true);
    }

    /// <summary>Reads a block from disk and checks it.</summary>
    /// <param name="address">Where its record begins.</param>
    /// <param name="key">Its key.</param>
    /// <param name="payload">Filled with the block, or with rubbish when it is damaged.</param>
    /// <param name="header">Filled with the record's header, <see cref="BlockRecord.HeaderBytes"/> bytes.</param>
    /// <returns>
    /// Whether the block is intact; a disk that fails, a file that ends early or is gone count as damage.
    /// </returns>
    public bool TryRead(long address, in BlockKey key, Span<byte> payload, Span<byte> header)
    {
        try
        {
            var at = address + StoreGeometry.LogEntryHeaderBytes;
            return _device.TryRead(at, header) && _device.TryRead(at + header.Length, payload) &&
                BlockRecord.IsIntact(header, key, _geometry.Identity, payload);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException
            or ObjectDisposedException)
        {
            return false;
        }
    }

    public void Dispose()
    {
        _log.Dispose();
        _settings.Dispose();
        _device.Dispose();
    }

    private readonly struct RecordEntry(byte* header, byte* payload, int payloadBytes) : ILogEnqueueEntry
    {
        private readonly byte* _header = header;
        private readonly byte* _payload = payload;

        public int SerializedLength => BlockRecord.HeaderBytes + payloadBytes;

        public void SerializeTo(Span<byte> dest)
        {
            new ReadOnlySpan<byte>(_header, BlockRecord.HeaderBytes).CopyTo(dest);
            new ReadOnlySpan<byte>(_payload, payloadBytes).CopyTo(dest[BlockRecord.HeaderBytes..]);
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
