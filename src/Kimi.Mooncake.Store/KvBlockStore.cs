using Kimi.Mooncake.Core;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Store;

/// <summary>
/// KV blocks kept in memory and on disk under their keys, found again after a restart. A block never changes. Whatever
/// happens to the files, a get gives the bytes that were put, or a miss. All members may be called from any thread.
/// </summary>
public sealed partial class KvBlockStore : IAsyncDisposable
{
    private readonly KvBlockStoreOptions _options;
    private readonly StoreGeometry _geometry;
    private readonly DirectoryLock _lock;
    private readonly SegmentDevice _device;
    private readonly StoreLog _log;
    private readonly BlockCatalog _catalog;
    private readonly RecordReader _reader;
    private readonly StoreWriter _writer;
    private readonly StoreCompactor _compactor;
    private readonly StoreScanner _scanner;
    private readonly StoreCounters _counters = new();
    private readonly Dictionary<BlockKey, List<BlockRetention>?> _storing = [];
    private readonly AutoResetEvent _progress = new(false);
    private readonly CancellationTokenSource _stop = new();
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly long _openedMs;
    private readonly long _openedAt;
    private readonly Task _flushing;
    private readonly Task _compacting;
    private int _active;
    private int _disposed;

    private KvBlockStore(
        KvBlockStoreOptions options, StoreGeometry geometry, DirectoryLock directoryLock, ILogger logger,
        TimeProvider time)
    {
        _openedAt = time.GetTimestamp();
        _openedMs = time.GetUtcNow().ToUnixTimeMilliseconds();
        _time = time;
        _options = options;
        _geometry = geometry;
        _lock = directoryLock;
        _logger = logger;
        var found = SegmentDevice.ListSegments(options.Directory);
        var drop = IsOfNoUse(found);
        _device = new SegmentDevice(
            options.Directory, () => _progress.Set(), found.Count == 0 ? 0 : found[^1].Number + 1,
            geometry.SegmentBytes);
        _catalog = new BlockCatalog(geometry, options, new TenantNames(options.Directory), _counters, NowMs);
        try
        {
            _log = new StoreLog(geometry, _device);
        }
        catch
        {
            _catalog.Dispose();
            _device.Dispose();
            throw;
        }

        _reader = new RecordReader(geometry.Format, _device.TryRead);
        _writer = new StoreWriter(
            options, geometry, _device, _log, _catalog, _counters, _progress, time, logger);
        _compactor = new StoreCompactor(options, geometry, _catalog, _writer, _reader, _counters, logger);
        _writer.WantsRoom = _compactor.Wake;
        _scanner = new StoreScanner(geometry, _device, _catalog, _reader, _counters, logger);
        _scanner.Begin(found);
        StoreMessages.Opened(
            logger, options.Directory, found.Count, time.GetElapsedTime(_openedAt).TotalMilliseconds);
        _flushing = Task.Run(() => _writer.RunAsync(_stop.Token));
        _compacting = Task.Run(() => _compactor.RunAsync(_stop.Token));
        Scanning = Task.Run(() => Scan(found, drop));
    }

    /// <summary>
    /// The tenant of blocks that are of use to this process alone: the next one that opens the folder drops them.
    /// </summary>
    public const string SwapTenant = "(swap)";

    /// <summary>Bytes of every block of this store.</summary>
    public int BlockBytes => _geometry.PayloadBytes;

    /// <summary>How far the store is with finding what earlier runs left.</summary>
    public StoreScan Recovering => _scanner.State;

    internal SegmentDevice Device => _device;

    /// <summary>Ends when everything on disk has been looked at.</summary>
    internal Task Scanning { get; }

    /// <summary>
    /// Opens a store. It serves at once, and finds in the background what earlier runs left; damaged parts are dropped
    /// and counted.
    /// </summary>
    /// <param name="options">Folder and limits.</param>
    /// <param name="layout">Layout of the blocks.</param>
    /// <param name="fingerprint">Names the model's weights. Blocks of another model or layout are dropped.</param>
    /// <param name="logger">Takes one line at start and one for each kind of trouble.</param>
    /// <param name="time">Clock for waiting times and for how long blocks are kept.</param>
    /// <exception cref="StoreException">
    /// A limit is too small, the folder cannot be used or is in use, or a later version wrote it.
    /// </exception>
    public static KvBlockStore Open(
        KvBlockStoreOptions options, KvLayout layout, string fingerprint, ILogger? logger = null,
        TimeProvider? time = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(layout);
        ArgumentException.ThrowIfNullOrEmpty(fingerprint);
        if (string.IsNullOrEmpty(options.Directory))
        {
            throw new StoreException("Directory of the store is empty; expected a folder");
        }

        var geometry = new StoreGeometry(options, layout, fingerprint);
        var directoryLock = DirectoryLock.Take(options.Directory);
        try
        {
            return new KvBlockStore(
                options, geometry, directoryLock, logger ?? NullLogger.Instance, time ?? TimeProvider.System);
        }
        catch (Exception exception)
        {
            directoryLock.Dispose();
            if (exception is IOException or UnauthorizedAccessException)
            {
                throw new StoreException(
                    $"the store folder '{options.Directory}' cannot be read: {exception.Message}", exception);
            }

            throw;
        }
    }

    /// <summary>
    /// Forgets a block: later gets miss it, its memory is free at once, its bytes on disk go with their segment. After
    /// the next flush it stays forgotten over a restart.
    /// </summary>
    /// <returns>Whether it was there.</returns>
    public bool Remove(BlockKey key)
    {
        Enter();
        try
        {
            lock (_catalog.Gate)
            {
                _catalog.NoteRemoved(key);
                if (_catalog.Find(key) is not (>= 0 and var id))
                {
                    return false;
                }

                _catalog.Remove(id, Loss.Removed);
            }

            _catalog.Events.Tell();
            return true;
        }
        finally
        {
            Exit();
        }
    }

    /// <summary>Writes everything put before the call to disk.</summary>
    /// <returns>Whether the disk took all of it; what it refused is dropped, or tried again later.</returns>
    public ValueTask<bool> FlushAsync(CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        return _writer.FlushAsync(cancellationToken);
    }

    /// <summary>Moves together what lives on disk, as long as that frees room; the store serves meanwhile.</summary>
    /// <param name="progress">Is told before each segment.</param>
    /// <param name="cancellationToken">Ends it; what was done stays done.</param>
    public async ValueTask<StoreCompaction> CompactAsync(
        IProgress<StoreCompaction>? progress = null, CancellationToken cancellationToken = default)
    {
        Enter();
        try
        {
            await Scanning.WaitAsync(cancellationToken).ConfigureAwait(false);
            await _writer.FlushAsync(cancellationToken).ConfigureAwait(false);
            return await _compactor.CompactAsync(progress, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            Exit();
        }
    }

    /// <summary>Flushes, waits for calls in progress, closes the files and frees the memory.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        while (Volatile.Read(ref _active) > 0)
        {
            await Task.Delay(1).ConfigureAwait(false);
        }

        await _stop.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(_flushing, _compacting, Scanning).ConfigureAwait(false);
        try
        {
            await _writer.FlushAsync(CancellationToken.None).ConfigureAwait(false);
        }
        finally
        {
            // A write in progress reads the log's pages and sets the event, which is therefore left to the collector.
            while (_device.IsWriting)
            {
                await Task.Delay(1).ConfigureAwait(false);
            }

            _compactor.Dispose();
            _writer.Dispose();
            _log.Dispose();
            _catalog.Dispose();
            _lock.Dispose();
            _stop.Dispose();
        }
    }

    /// <summary>Breaks with a message when the books do not add up; for tests.</summary>
    internal void Check()
    {
        lock (_catalog.Gate)
        {
            _catalog.Check();
        }
    }

    private long NowMs() => _openedMs + (long)_time.GetElapsedTime(_openedAt).TotalMilliseconds;

    private void CheckLength(int length, string parameter)
    {
        if (length != BlockBytes)
        {
            throw new ArgumentException($"a block of this store has {BlockBytes} bytes, not {length}", parameter);
        }
    }

    private void Enter()
    {
        Interlocked.Increment(ref _active);
        if (Volatile.Read(ref _disposed) != 0)
        {
            Exit();
            throw new ObjectDisposedException(nameof(KvBlockStore));
        }
    }

    private void Exit() => Interlocked.Decrement(ref _active);
}
