using System.Runtime.CompilerServices;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Models;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Tokenization.Grammars;
using Kimi.Mooncake.Worker.Peers;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Worker;

/// <summary>
/// Prefill, decode and store of one process: a model, its KV pool, the engine that schedules them, and the way to the
/// store. Owns all of them except the model file and the store.
/// </summary>
public sealed partial class KimiWorker : ITokenGenerator, INode, IAsyncDisposable
{
    private readonly IKernels _kernels;
    private readonly PagedKvMemory _kv;
    private readonly KimiModel _model;
    private readonly StoreConnector? _connector;
    private readonly PeerConnector? _peerConnector;
    private readonly KvBlockStore? _store;
    private readonly EngineLoop _loop;
    private readonly TimeProvider _time;
    private readonly TransferRate _storeRate;
    private readonly OutputGrammars _grammars;

    /// <summary>Brings the weights into memory and starts the engine's thread.</summary>
    /// <param name="model">The model; it must outlive the worker.</param>
    /// <param name="options">Memory and processors.</param>
    /// <param name="engineOptions">Bounds of the scheduler.</param>
    /// <param name="store">The store, or null to run without; it must outlive the worker.</param>
    /// <param name="connectorOptions">Bounds of transfers to and from the store.</param>
    /// <param name="time">Clock.</param>
    /// <param name="logger">Takes what an operator should know.</param>
    /// <param name="peers">The way to other workers; null where there are none.</param>
    /// <param name="vocabulary">
    /// The model's tokens, read when a request with a constraint comes; null where such requests are refused.
    /// </param>
    /// <exception cref="Kimi.Mooncake.Models.Gguf.ModelFileException">
    /// A tensor is missing or has another shape or type.
    /// </exception>
    /// <exception cref="ArgumentException">A limit does not fit the model; the message names it.</exception>
    public KimiWorker(
        LoadedModel model,
        WorkerOptions options,
        EngineOptions engineOptions,
        KvBlockStore? store,
        StoreConnectorOptions connectorOptions,
        TimeProvider time,
        ILogger logger,
        WorkerPeers? peers = null,
        Lazy<ConstraintVocabulary>? vocabulary = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(engineOptions);
        ArgumentNullException.ThrowIfNull(time);
        HugePages.AreWanted = LoadedModel.ParseAuto("worker.huge_pages", options.HugePages);
        var layout = LayoutOf(model, options);
        var blockCount = BlockCount(layout, options);
        _kernels = LoadedModel.CreateKernels(options, model.Arithmetic, model.Source.LengthBytes);
        _kv = new PagedKvMemory(layout, blockCount);
        var rowsMax = engineOptions.PrefillChunkTokens + engineOptions.RunningSequencesMax;
        _model = new KimiModel(
            model.Source, _kernels, rowsMax, engineOptions.RunningSequencesMax, new LoadLog(model, logger, time));
        _store = store;
        _time = time;
        _storeRate = new TransferRate(TimeSpan.MaxValue, time);
        _peers = peers;
        Runner = new KimiModelRunner(_model, _kv, time);
        _grammars = new OutputGrammars(vocabulary, model.Config.VocabularySize, options);
        if (peers is null)
        {
            _connector = store is null
                ? null
                : new StoreConnector(store, _kv, connectorOptions, () => _loop?.Wake(), _storeRate);
        }
        else
        {
            KvEvents = new KvEventFeed();
            _peerConnector = ConnectPeers(peers, model.Fingerprint, store, connectorOptions, logger);
        }

        IKvConnector? connector = _peerConnector is null ? _connector : _peerConnector;
        var engine = new EngineCore(
            engineOptions, layout, model.Fingerprint, blockCount, Runner, connector,
            recordKvEvents: KvEvents is not null);
        _loop = new EngineLoop(engine, time, logger, KvEvents, () => MeasuredRates(engineOptions));
        SequencesMax = engineOptions.RunningSequencesMax;
        Model = new ModelCard(
            model.Id,
            Math.Min(model.Config.ContextLength, engine.SequenceTokensMax),
            model.Config.VocabularySize,
            model.Fingerprint,
            layout,
            time.GetUtcNow().ToUnixTimeSeconds());
        WorkerLog.Started(
            logger, model.Id, blockCount, layout.BlockTokens, _kernels.Name, _kernels.ThreadCount);
        LogMachine(model, logger);
        _loop.Start();
    }

    /// <inheritdoc />
    public ModelCard Model { get; }

    internal KimiModelRunner Runner { get; }

    internal PagedKvMemory Memory => _kv;

    internal BlockTraffic Traffic { get; } = new();

    /// <summary>The KV layout that a worker with these options uses; a store is opened for it.</summary>
    public static KvLayout LayoutOf(LoadedModel model, WorkerOptions options)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        if (!KvLayout.IsBlockSize(options.BlockTokens))
        {
            throw new ArgumentException(
                $"worker.block_tokens is {options.BlockTokens}; expected a power of two from " +
                $"{KvLayout.BlockTokensMin} to {KvLayout.BlockTokensMax}",
                nameof(options));
        }

        var type = LoadedModel.ParseKvType(options.KvType, model.Source, model.Arithmetic);
        return KimiModel.LayoutOf(model.Config, options.BlockTokens, type);
    }

    /// <inheritdoc />
    public IAsyncEnumerable<GenerationEvent> GenerateAsync(
        GenerationRequest request, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(request);
        CheckTokens(request);
        var answer = _grammars.Prepare(request);
        return IsPrefilledElsewhere(request)
            ? ImportAsync(request, answer, cancellationToken)
            : GenerateHereAsync(request, answer, cancellationToken);
    }

    /// <inheritdoc />
    public WorkerStatus Status()
    {
        var status = _loop.Status();
        var failure = _loop.Failure;
        return new WorkerStatus
        {
            Ready = failure is null,
            NotReadyReason = failure?.Message ?? "",
            Waiting = status.Waiting + status.Loading,
            Running = status.Running + status.Importing,
            BlocksTotal = status.BlocksTotal,
            BlocksFree = status.BlocksFree,
            BlocksCached = status.BlocksCached,
            BlocksHeld = status.BlocksHeld,
            Metrics = Metrics(status),
        };
    }

    /// <summary>Cancels every request, waits for transfers, and frees all memory.</summary>
    public async ValueTask DisposeAsync()
    {
        await _open.CloseAsync().ConfigureAwait(false);
        await _loop.StopAsync().ConfigureAwait(false);
        _connector?.Dispose();
        if (_peerConnector is not null)
        {
            await _peerConnector.DisposeAsync().ConfigureAwait(false);
        }

        _model.Dispose();
        _kv.Dispose();
        _kernels.Dispose();
    }

    /// <summary>Asks the engine something between two steps; see <see cref="EngineLoop.CallAsync"/>.</summary>
    internal Task<T> OnEngineAsync<T>(Func<EngineCore, T> function) => _loop.CallAsync(function);

    /// <summary>Has the engine do something between two steps; see <see cref="EngineLoop.Post"/>.</summary>
    internal void PostToEngine(Action<EngineCore> action) => _loop.Post(action);

    private List<Metric> Metrics(in EngineStatus status)
    {
        var metrics = WorkerMetrics.Of(status, Runner.Times, HandOvers, _store?.Statistics());
        _connector?.AddMetrics(metrics);
        _peerConnector?.AddMetrics(metrics);
        return metrics;
    }

    /// <summary>What preemption goes by: as measured here, and as configured until then.</summary>
    private PreemptionRates MeasuredRates(EngineOptions options) => new(
        _storeRate.BytesPerSecond is > 0 and var bytesPerSecond ? bytesPerSecond : options.SwapBytesPerSecond,
        Runner.Times.DecodeSeconds is > 0 and var seconds ? seconds : options.DecodeStepMicroseconds / 1e6);

    private static int BlockCount(KvLayout layout, WorkerOptions options)
    {
        var blocks = options.KvPoolBytes / layout.BytesPerBlock;
        return blocks is >= 1 and <= int.MaxValue
            ? (int)blocks
            : throw new ArgumentException(
                $"worker.kv_pool_bytes is {options.KvPoolBytes}, which gives {blocks} blocks of " +
                $"{layout.BytesPerBlock} bytes; expected at least one",
                nameof(options));
    }

    private void CheckTokens(GenerationRequest request)
    {
        foreach (var token in request.PromptTokens.Concat(request.GeneratedTokens))
        {
            if ((uint)token >= (uint)Model.VocabularySize)
            {
                throw new ArgumentException(
                    $"token {token}; ids are 0 to {Model.VocabularySize - 1}", nameof(request));
            }
        }
    }

    private RequestStream StreamOf(
        GenerationRequest request, ConstrainedAnswer? answer, SequenceMode mode, CancellationToken cancellation) =>
        new(request, cancellation, mode)
        {
            Accepted = sequenceId => Runner.Constrain(sequenceId, answer),
            Ended = Runner.Release,
        };

    private async IAsyncEnumerable<GenerationEvent> GenerateHereAsync(
        GenerationRequest request, ConstrainedAnswer? answer,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        // The engine must hear of it when the reader stops early without cancelling.
        using var reading = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await FindBlocksAsync(request, cancellationToken).ConfigureAwait(false);
        var stream = StreamOf(request, answer, SequenceMode.Whole, reading.Token);
        _loop.Submit(stream);
        var finished = false;
        try
        {
            WorkerRefusals.Throw(await stream.Admission.Task.WaitAsync(cancellationToken).ConfigureAwait(false));
            await foreach (var next in stream.Events.ReadAllAsync(cancellationToken).ConfigureAwait(false))
            {
                finished = next.Kind == EngineEventKind.Finished;
                yield return next.Kind == EngineEventKind.PrefillFinished
                    ? new PrefillFinished(
                        next.PromptTokens,
                        next.CachedTokens,
                        Runner.Times.PrefillSecondsSaved(next.PromptTokens, next.CachedTokens))
                    : next.ToGenerationEvent();
            }
        }
        finally
        {
            if (!finished)
            {
                await reading.CancelAsync().ConfigureAwait(false);
                _loop.Wake();
            }
        }
    }

    private void LogMachine(LoadedModel model, ILogger logger)
    {
        if (!logger.IsEnabled(LogLevel.Information))
        {
            return;
        }

        var memory = ResidentMemory.Read();
        var features = string.Join(' ', ProcessorFeatures.Names);
        var instructions = _kernels is CpuKernels cpu ? cpu.Options.Path.ToString() : "none";
        var hugePages = HugePages.Describe();
        WorkerLog.Machine(
            logger,
            ProcessorFeatures.ProcessorName,
            features,
            model.Arithmetic,
            instructions,
            hugePages,
            model.Source.LengthBytes,
            memory?.TotalBytes,
            memory?.AnonymousBytes);
    }
}
