using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>
/// Reads the folder of a store without opening it: takes no lock and writes nothing, so that a server may have the
/// folder meanwhile. What it knows is what the indexes said when it was opened; a block that has moved since is read as
/// missing. Any thread may call.
/// </summary>
public sealed class StoreReader
{
    private readonly string _directory;
    private readonly RecordFormat _format;
    private readonly RecordReader _reader;
    private readonly Dictionary<BlockKey, FoundBlock> _blocks = [];
    private readonly Dictionary<ulong, string> _tenants = [];
    private readonly StoreManifest _manifest;
    private long _fileBytes;
    private int _segments;
    private long _damagedEntries;

    private StoreReader(string directory, StoreManifest manifest)
    {
        _directory = directory;
        _manifest = manifest;
        _format = manifest.Format;
        _reader = new RecordReader(_format, ReadBytes);
    }

    private readonly record struct FoundBlock(IndexEntry Entry, int Segment);

    /// <summary>Bytes of every block.</summary>
    public int BlockBytes => _format.PayloadBytes;

    /// <summary>Reads the indexes of a folder.</summary>
    /// <param name="directory">The folder of one model and layout: the one with the file <c>format</c>.</param>
    /// <exception cref="StoreException">There is no store, a later version wrote it, or it cannot be read.</exception>
    public static StoreReader Open(string directory)
    {
        ArgumentException.ThrowIfNullOrEmpty(directory);
        try
        {
            var manifest = (Directory.Exists(directory) ? StoreManifest.Read(directory) : null) ??
                throw new StoreException(
                    $"'{directory}' holds no store: its file '{StoreManifest.FileName}' is missing or damaged");
            if (manifest.PayloadBytes <= 0 || manifest.LayerCount <= 0 || manifest.SegmentBytes <= 0)
            {
                throw new StoreException($"'{directory}/{StoreManifest.FileName}' gives sizes that are not positive");
            }

            var reader = new StoreReader(directory, manifest);
            reader.Load();
            return reader;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new StoreException($"'{directory}' cannot be read: {exception.Message}", exception);
        }
    }

    /// <summary>What the folder holds.</summary>
    public StoreContents Stat()
    {
        var live = _blocks.Values.Sum(static block => (long)block.Entry.LogBytes);
        return new StoreContents(
            _manifest.Version, _manifest.Layout, _manifest.Fingerprint, BlockBytes, _segments, _fileBytes,
            _blocks.Count, live, _damagedEntries,
            [
                .. _blocks.Values.GroupBy(block => TenantOf(block.Entry.Tenant)).Select(static group => new TenantUsage(
                    group.Key, group.Count(), group.Sum(static block => (long)block.Entry.LogBytes), 0)),
            ]);
    }

    /// <summary>Blocks, in the order of their keys.</summary>
    /// <param name="prefix">First hexadecimal digits of their keys; empty: any.</param>
    /// <param name="tenant">Their tenant; null: any.</param>
    /// <param name="limit">Most blocks to be listed.</param>
    public IEnumerable<StoredBlockInfo> List(string prefix = "", string? tenant = null, int limit = int.MaxValue)
    {
        ArgumentNullException.ThrowIfNull(prefix);
        return _blocks
            .Select(pair => (Text: pair.Key.ToString(), pair.Value))
            .Where(block => block.Text.StartsWith(prefix, StringComparison.OrdinalIgnoreCase) &&
                (tenant is null || TenantOf(block.Value.Entry.Tenant) == tenant))
            .OrderBy(static block => block.Text, StringComparer.Ordinal)
            .Take(limit)
            .Select(block => InfoOf(block.Value));
    }

    /// <summary>Reads a block and checks it.</summary>
    /// <param name="key">Its key.</param>
    /// <param name="destination">Exactly <see cref="BlockBytes"/> bytes; undefined when the result is false.</param>
    /// <returns>False when it is not there, is damaged, or has moved since.</returns>
    /// <exception cref="ArgumentException">The destination has another length.</exception>
    public bool TryRead(BlockKey key, Span<byte> destination)
    {
        if (destination.Length != BlockBytes)
        {
            throw new ArgumentException(
                $"a block of this store has {BlockBytes} bytes, not {destination.Length}", nameof(destination));
        }

        return _blocks.TryGetValue(key, out var block) &&
            _reader.Read(AddressOf(block), key, 0, destination) == RecordRead.Intact;
    }

    /// <summary>Reads and checks every block.</summary>
    /// <param name="progress">Is told after each block.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>What was found until the end.</returns>
    /// <exception cref="OperationCanceledException">It was ended.</exception>
    public StoreVerification Verify(
        IProgress<StoreVerification>? progress = null, CancellationToken cancellationToken = default)
    {
        var bytes = new byte[BlockBytes];
        var intact = 0L;
        var bad = new List<BlockKey>();
        var state = new StoreVerification(_blocks.Count, 0, bad);
        // In the order of the files, which the disk likes best.
        foreach (var (key, block) in _blocks.OrderBy(pair => AddressOf(pair.Value)))
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (_reader.Read(AddressOf(block), key, 0, bytes) == RecordRead.Intact)
            {
                intact++;
            }
            else
            {
                bad.Add(key);
            }

            state = new StoreVerification(_blocks.Count, intact, bad);
            progress?.Report(state);
        }

        return state;
    }

    private long AddressOf(in FoundBlock block) => (block.Segment * _format.SegmentBytes) + block.Entry.Offset;

    private string TenantOf(ulong hash) => _tenants.GetValueOrDefault(hash) ?? $"?{hash:x16}";

    private StoredBlockInfo InfoOf(in FoundBlock block)
    {
        var entry = block.Entry;
        return new StoredBlockInfo(
            entry.Key, entry.Parent, TenantOf(entry.Tenant), entry.Tokens, entry.Class, entry.Retention.Pin,
            TimeOf(entry.Retention.PinUntilMs), TimeOf(entry.Retention.ExpiresMs), entry.Retention.Priority,
            DateTimeOffset.FromUnixTimeMilliseconds(entry.StoredAtMs), entry.LogBytes, block.Segment, entry.Offset);
    }

    private static DateTimeOffset? TimeOf(long ms) =>
        ms is <= 0 or long.MaxValue ? null : DateTimeOffset.FromUnixTimeMilliseconds(ms);

    private void Load()
    {
        foreach (var name in TenantNames.Read(Path.Combine(_directory, TenantNames.FileName)))
        {
            _tenants[TenantNames.HashOf(name)] = name;
        }

        foreach (var (number, bytes) in SegmentDevice.ListSegments(_directory))
        {
            _segments++;
            _fileBytes += bytes;
            var index = SegmentDevice.IndexPath(_directory, number);
            try
            {
                if (File.Exists(index))
                {
                    _damagedEntries += SegmentIndex.Read(
                        index, _format.Identity, number, entries => Take(number, bytes, entries));
                }
            }
            catch (FileNotFoundException)
            {
                // The server deleted it between the look and the read.
                _segments--;
            }
        }
    }

    private void Take(int segment, long fileBytes, ReadOnlySpan<IndexEntry> entries)
    {
        foreach (ref readonly var entry in entries)
        {
            switch (entry.Kind)
            {
                case IndexEntryKind.Removed:
                    _blocks.Remove(entry.Key);
                    break;
                case IndexEntryKind.Block or IndexEntryKind.Retention
                    when entry.Offset + (long)entry.LogBytes <= fileBytes:
                    _blocks[entry.Key] = new FoundBlock(entry, segment);
                    break;
                default:
                    _damagedEntries++;
                    break;
            }
        }
    }

    private bool ReadBytes(long address, Span<byte> destination)
    {
        var path = SegmentDevice.DataPath(_directory, (int)(address / _format.SegmentBytes));
        if (!File.Exists(path))
        {
            return false;
        }

        using var file = File.OpenHandle(
            path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        var offset = address % _format.SegmentBytes;
        while (!destination.IsEmpty)
        {
            var count = RandomAccess.Read(file, destination, offset);
            if (count == 0)
            {
                return false;
            }

            destination = destination[count..];
            offset += count;
        }

        return true;
    }
}
