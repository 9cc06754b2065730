using Google.Protobuf;
using Grpc.Core;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Protocol;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>The blocks of this process for others, and, in a store node, theirs for this process.</summary>
public sealed class BlocksService : Wire.KvBlocks.KvBlocksBase, IAsyncDisposable
{
    private readonly string _fingerprint;
    private readonly BlockSources _sources;
    private readonly OpenPuts? _puts;
    private readonly ReplicaSender? _replicas;
    private readonly TransferEngine _transfer;
    private readonly BlockServingOptions _options;
    private readonly BlockTraffic _traffic;
    private int _pulls;

    internal BlocksService(
        BlocksServed served, TransferEngine transfer, BlockServingOptions options, BlockTraffic traffic,
        TimeProvider time, Func<string, CallInvoker>? invokers = null, ILogger? logger = null)
    {
        var blockBytes = served.Layout.BytesPerBlock;
        _fingerprint = served.Fingerprint;
        _transfer = transfer;
        _options = options;
        _traffic = traffic;
        _sources = new BlockSources(
            served.Pool,
            served.Store,
            served.Store is null ? null : new StagingBlocks(served.Layout, options.PullStagingBytes),
            blockBytes,
            Math.Max(1, options.PullBatchBytes / blockBytes));
        _puts = served.TakesPuts && served.Store is not null
            ? new OpenPuts(served.Store, served.Layout, transfer, options, traffic, time)
            : null;
        _replicas = _puts is not null && invokers is not null
            ? new ReplicaSender(new ReplicaParts(
                served.Store!, served.Layout, served.Fingerprint, _sources.Staging!,
                new PeerBlockClient(transfer, invokers), options, traffic, time, logger ?? NullLogger.Instance))
            : null;
    }

    /// <summary>The blocks of a worker.</summary>
    /// <param name="worker">The worker; outlives the service.</param>
    /// <param name="store">Its store; null where there is none. Outlives the service.</param>
    /// <param name="takesPuts">Whether the process is a store node too.</param>
    /// <param name="transfer">Carries the bytes; outlives the service.</param>
    /// <param name="options">Limits.</param>
    /// <param name="time">Clock.</param>
    /// <param name="invokers">Calls to other store nodes; null for a process that copies nothing to them.</param>
    /// <param name="logger">Takes what an operator should know.</param>
    public static BlocksService ForWorker(
        KimiWorker worker, KvBlockStore? store, bool takesPuts, TransferEngine transfer, BlockServingOptions options,
        TimeProvider time, Func<string, CallInvoker>? invokers = null, ILogger? logger = null)
    {
        ArgumentNullException.ThrowIfNull(worker);
        ArgumentNullException.ThrowIfNull(transfer);
        ArgumentNullException.ThrowIfNull(options);
        var served = new BlocksServed(
            worker.Model.KvLayout,
            worker.Model.Fingerprint,
            new EnginePublishedBlocks(worker, options.PullPoolShare),
            store,
            takesPuts);
        return new BlocksService(served, transfer, options, worker.Traffic, time, invokers, logger);
    }

    /// <summary>Copies blocks to another store node, as the conductor orders.</summary>
    /// <param name="task">What is to be copied.</param>
    /// <param name="cancellationToken">Ends it; the only cause of an exception.</param>
    public Task<ReplicaOutcome> CopyAsync(ReplicaTask task, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(task);
        return _replicas?.CopyAsync(task, cancellationToken) ?? Task.FromResult(default(ReplicaOutcome));
    }

    /// <inheritdoc />
    public override async Task<Wire.MatchResponse> Match(Wire.MatchRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        ReadOnlyMemory<BlockKey> keys = ReadKeys(request.Keys, "keys");
        if (request.Runs.Count == 0)
        {
            return new Wire.MatchResponse { Blocks = (uint)await CountAsync(keys).ConfigureAwait(false) };
        }

        var response = new Wire.MatchResponse();
        var at = 0;
        foreach (var length in request.Runs)
        {
            if (length == 0 || length > (uint)(keys.Length - at))
            {
                throw Fault(StatusCode.InvalidArgument, RunsFault(request.Runs, keys.Length));
            }

            response.RunBlocks.Add((uint)await CountAsync(keys.Slice(at, (int)length)).ConfigureAwait(false));
            at += (int)length;
        }

        if (at < keys.Length)
        {
            throw Fault(StatusCode.InvalidArgument, RunsFault(request.Runs, keys.Length));
        }

        response.Blocks = response.RunBlocks[0];
        return response;
    }

    /// <inheritdoc />
    public override async Task<Wire.PullResponse> Pull(Wire.PullRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(context);
        var keys = ReadKeys(request.Keys, "keys");
        var firstSlot = ReadSlot(request, keys.Length);
        var target = new ReservationId(request.Reservation, request.Generation);
        var frames = keys.Length * BlockFrames.CountOf(_sources.BlockBytes);
        if (Interlocked.Increment(ref _pulls) > _options.PullsMax)
        {
            Interlocked.Decrement(ref _pulls);
            _traffic.AddPullRefused();
            throw Fault(StatusCode.ResourceExhausted, $"{_options.PullsMax} pulls are being served");
        }

        try
        {
            var sender = new PullSender(_sources, keys, firstSlot, _traffic);
            var sent = await sender.SendAsync(
                cancellation => _transfer.BeginAsync(
                    request.DestinationAddress, target, TransferPriority.ForegroundGet, frames, cancellation),
                context.CancellationToken).ConfigureAwait(false);
            return new Wire.PullResponse { Blocks = (uint)sent };
        }
        catch (TransferException fault)
        {
            throw Fault(StatusCode.Unavailable, $"the blocks cannot be delivered: {fault.Message}");
        }
        catch (Exception fault) when (fault is QueueFullException or InvalidOperationException)
        {
            // The engine or the transfer engine has too much to do, or is stopping.
            _traffic.AddPullRefused();
            throw Fault(StatusCode.ResourceExhausted, fault.Message);
        }
        catch (ArgumentException fault)
        {
            throw Fault(StatusCode.InvalidArgument, $"field destination_address: {fault.Message}");
        }
        catch (OperationCanceledException) when (context.CancellationToken.IsCancellationRequested)
        {
            throw Fault(StatusCode.Cancelled, "the call was ended");
        }
        finally
        {
            Interlocked.Decrement(ref _pulls);
        }
    }

    /// <inheritdoc />
    public override Task<Wire.BeginPutResponse> BeginPut(Wire.BeginPutRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        var puts = RequirePuts();
        var keys = ReadKeys(request.Keys, "keys");
        var parents = ReadKeys(request.ParentKeys, "parent_keys");
        if (parents.Length != keys.Length)
        {
            throw Fault(
                StatusCode.InvalidArgument,
                $"field parent_keys: {parents.Length} keys; expected {keys.Length}, one for each of keys");
        }

        var attributes = Read(() => RetentionMessages.ToAttributes(request));
        if (request.BlockBytes != _sources.BlockBytes || request.ModelFingerprint != _fingerprint)
        {
            throw Fault(
                StatusCode.FailedPrecondition,
                $"the blocks have {request.BlockBytes} bytes and belong to the model {request.ModelFingerprint}; " +
                $"here blocks have {_sources.BlockBytes} bytes and the model is {_fingerprint}");
        }

        if (!puts.TryBegin(keys, parents, attributes, out var id, out var wanted, out var left))
        {
            throw Fault(
                StatusCode.ResourceExhausted,
                $"{puts.Count} puts are open, of {_options.PutsMax}, and {puts.FreeBlocks} blocks fit the memory");
        }

        var response = new Wire.BeginPutResponse
        {
            Reservation = id.Id,
            Generation = id.Generation,
            Left = (uint)left,
        };
        response.Wanted.Add(wanted.Select(static index => (uint)index));
        return Task.FromResult(response);
    }

    /// <inheritdoc />
    public override async Task<Wire.CommitPutResponse> CommitPut(
        Wire.CommitPutRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        var puts = RequirePuts();
        // The store may wait for its disk.
        var stored = await Task.Run(() => puts.Commit(new ReservationId(request.Reservation, request.Generation)))
            .ConfigureAwait(false);
        return new Wire.CommitPutResponse
        {
            Stored = (uint)(stored ?? throw Fault(
                StatusCode.FailedPrecondition, "no such put is open, or not all of its blocks have come")),
        };
    }

    /// <inheritdoc />
    public override Task<Wire.RetainResponse> Retain(Wire.RetainRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        var puts = RequirePuts();
        var keys = ReadKeys(request.Keys, "keys");
        var retention = Read(() => RetentionMessages.ToRetention(request.Retention));
        return Task.FromResult(new Wire.RetainResponse { Blocks = (uint)puts.Retain(keys, retention) });
    }

    /// <summary>Gives open puts up. The server must have ended its calls before.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_puts is not null)
        {
            await _puts.DisposeAsync().ConfigureAwait(false);
        }

        _sources.Staging?.Dispose();
    }

    /// <summary>Takes no more puts; open ones may end.</summary>
    internal void StopPuts() => _puts?.Stop();

    private static RpcException Fault(StatusCode code, string message) => new(new Status(code, message));

    private static string RunsFault(IEnumerable<uint> runs, int keys) =>
        $"field runs: {runs.Sum(static length => (long)length)} keys in runs; expected none that is empty, and the " +
        $"{keys} keys together";

    private async Task<int> CountAsync(ReadOnlyMemory<BlockKey> keys)
    {
        var count = _sources.Pool is { } pool ? await pool.CountAsync(keys).ConfigureAwait(false) : 0;
        return count + (_sources.Store?.CountStored(keys.Span[count..]) ?? 0);
    }

    private OpenPuts RequirePuts() =>
        _puts ?? throw Fault(StatusCode.Unimplemented, "this process keeps no blocks for others; it is no store node");

    private BlockKey[] ReadKeys(ByteString bytes, string field)
    {
        if (bytes.Length / BlockKey.SizeBytes > _options.KeysMax)
        {
            throw Fault(
                StatusCode.InvalidArgument,
                $"field {field}: {bytes.Length / BlockKey.SizeBytes} keys; expected at most {_options.KeysMax}");
        }

        return Read(() => BlockKeyMessages.ToKeys(bytes, field));
    }

    private static T Read<T>(Func<T> read)
    {
        try
        {
            return read();
        }
        catch (InvalidDataException fault)
        {
            throw Fault(StatusCode.InvalidArgument, fault.Message);
        }
    }

    private static int ReadSlot(Wire.PullRequest request, int keys) =>
        request.FirstSlot <= (uint)(int.MaxValue - keys)
            ? (int)request.FirstSlot
            : throw Fault(StatusCode.InvalidArgument, $"field first_slot: {request.FirstSlot} is too large");
}
