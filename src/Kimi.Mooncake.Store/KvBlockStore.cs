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
    private readonly StoreGeometry _geometry;
    private readonly DirectoryLock _lock;
    private readonly SegmentDevice _device;
    private readonly StoreLog _log;
    private readonly BlockCatalog _catalog;
    private readonly StoreWriter _writer;
    private readonly StoreCounters _counters = new();
    private readonly HashSet<BlockKey> _storing = [];
    private readonly AutoResetEvent _progress = new(false);
    private readonly CancellationTokenSource _stop = new();
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly int _segmentsFound;
    private readonly StoreEvents _events;
    private readonly Dictionary<string, long> _quotas = [];
    private readonly long _openedMs;
    private readonly long _openedAt;
    private readonly Task _flushing;
    private int _active;
    private int _disposed;

    private KvBlockStore(
        KvBlockStoreOptions options, StoreGeometry geometry, DirectoryLock directoryLock, ILogger logger,
        TimeProvider time)
    {
        var started = time.GetTimestamp();
        _geometry = geometry;
        _lock = directoryLock;
        _logger = logger;
        _device = new SegmentDevice(options.Directory, () => _progress.Set());
        _time = time;
        _openedMs = time.GetUtcNow().ToUnixTimeMilliseconds();
        _openedAt = started;
        _catalog = new BlockCatalog(geometry) { Now = NowMs };
        _events = _catalog.Events;
        try
        {
            _segmentsFound = SegmentDevice.ListSegments(options.Directory).Length;
            var found = StoreRecovery.Load(options.Directory, geometry, _device, _catalog, logger);
            _log = new StoreLog(geometry, _device, found.BeginAddress, found.StartAddress);
            _counters.Recovered = _catalog.Count;
            _counters.Damaged = found.Damaged;
        }
        catch
        {
            _catalog.Dispose();
            _device.Dispose();
            throw;
        }

        _writer = new StoreWriter(
            options, geometry, _device, _log, _catalog, _counters, _progress, time, logger);
        StoreMessages.Opened(
            logger, options.Directory, _catalog.Count, _counters.Damaged,
            time.GetElapsedTime(started).TotalMilliseconds);
        _flushing = Task.Run(() => _writer.RunAsync(_stop.Token));
    }

    /// <summary>Bytes of every block of this store.</summary>
    public int BlockBytes => _geometry.PayloadBytes;

    internal SegmentDevice Device => _device;

    /// <summary>Opens a store and finds what earlier runs left; damaged parts are dropped and counted.</summary>
    /// <param name="options">Folder and limits.</param>
    /// <param name="layout">Layout of the blocks.</param>
    /// <param name="fingerprint">Names the model's weights. Blocks of another model or layout are dropped.</param>
    /// <param name="logger">Takes one line at start and one for each kind of trouble.</param>
    /// <param name="time">Clock for waiting times.</param>
    /// <exception cref="StoreException">A limit is too small, or the folder cannot be used or is in use.</exception>
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
    /// a restart it may be there again.
    /// </summary>
    /// <returns>Whether it was there.</returns>
    public bool Remove(BlockKey key)
    {
        Enter();
        try
        {
            bool removed;
            lock (_catalog.Gate)
            {
                removed = _catalog.Remove(key);
            }

            _events.Tell();
            return removed;
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

    /// <summary>A snapshot of the counters.</summary>
    public StoreStatistics Statistics()
    {
        int blocks;
        int inMemory;
        lock (_catalog.Gate)
        {
            blocks = _catalog.Count;
            inMemory = _catalog.OwnedSlots;
        }

        return new StoreStatistics
        {
            Blocks = blocks,
            BlocksInMemory = inMemory,
            MemoryBytes = ((long)_geometry.SlotCount * _geometry.PayloadBytes) + _geometry.LogBufferBytes,
            DiskBytes = _log.DiskBytes + ((long)blocks * SegmentIndex.EntryBytes),
            Recovered = _counters.Recovered,
            Puts = Interlocked.Read(ref _counters.Puts),
            Duplicates = Interlocked.Read(ref _counters.Duplicates),
            Refused = Interlocked.Read(ref _counters.Refused),
            MemoryHits = Interlocked.Read(ref _counters.MemoryHits),
            DiskHits = Interlocked.Read(ref _counters.DiskHits),
            Misses = Interlocked.Read(ref _counters.Misses),
            Damaged = Interlocked.Read(ref _counters.Damaged),
            Evicted = Interlocked.Read(ref _counters.Evicted),
            Rewritten = Interlocked.Read(ref _counters.Rewritten),
            WriteFailures = Interlocked.Read(ref _counters.WriteFailures),
            Flushes = Interlocked.Read(ref _counters.Flushes),
            FlushFailures = Interlocked.Read(ref _counters.FlushFailures),
        };
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
        await _flushing.ConfigureAwait(false);
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

            _writer.Dispose();
            _log.Dispose();
            _catalog.Dispose();
            _lock.Dispose();
            _stop.Dispose();
        }
    }

    /// <summary>Breaks with a message when the memory tier's slots do not add up; for tests.</summary>
    internal void Check()
    {
        lock (_catalog.Gate)
        {
            _catalog.Check();
        }
    }

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
