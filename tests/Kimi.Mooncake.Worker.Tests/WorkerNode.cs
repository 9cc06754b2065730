using System.Collections.Concurrent;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.KvCache;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Transfer;
using Kimi.Mooncake.Worker.Peers;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Worker.Tests;

/// <summary>What a test may want of a node.</summary>
internal sealed record NodePlan
{
    public int ChunkTokens { get; init; } = 256;

    public long PoolBytes { get; init; } = 64 << 20;

    public bool SharedMemory { get; init; } = true;

    public EngineOptions Engine { get; init; } = new();

    public HandOverOptions HandOver { get; init; } = new();

    public TransferOptions Transfer { get; init; } = new();

    public TransferFaultOptions Faults { get; init; } = new();

    /// <summary>Folder of the worker's store; null for none.</summary>
    public string? StoreFolder { get; init; }

    /// <summary>Clock of the store.</summary>
    public TimeProvider StoreTime { get; init; } = TimeProvider.System;

    public string KvType { get; init; } = "auto";

    public PeerBlocksOptions Peers { get; init; } = new();
}

/// <summary>A worker with everything that others reach it by, on loopback.</summary>
internal sealed class WorkerNode : IAsyncDisposable
{
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly LoadedModel _model;
    private readonly PeerChannels _channels;
    private readonly KvBlockStore? _store;
    private readonly BlocksService _blocks;
    private readonly ConcurrentDictionary<(string RequestId, int Position), float[]> _logits = new();
    private LoopbackServer? _server;

    private WorkerNode(NodePlan plan)
    {
        _model = LoadedModel.Open(new ModelOptions { Path = BuiltInModel.Path, Id = "needle" });
        var peer = new PeerOptions();
        _channels = new PeerChannels(peer, NullLoggerFactory.Instance);
        Transfer = new TransferEngine(
            plan.Transfer with { SharedMemory = plan.SharedMemory }, peer, NullLoggerFactory.Instance,
            TimeProvider.System, plan.Faults);
        var options = new WorkerOptions { KvPoolBytes = plan.PoolBytes, Threads = 1, KvType = plan.KvType };
        _store = plan.StoreFolder is null
            ? null
            : ScannedStore.Open(
                new KvBlockStoreOptions { Directory = plan.StoreFolder, FlushIntervalMs = 10 },
                KimiWorker.LayoutOf(_model, options), _model.Fingerprint, time: plan.StoreTime);
        Worker = new KimiWorker(
            _model,
            options,
            plan.Engine with { PrefillChunkTokens = plan.ChunkTokens },
            _store,
            new StoreConnectorOptions(),
            TimeProvider.System,
            NullLogger.Instance,
            new WorkerPeers(Transfer, _channels.Get, plan.HandOver, plan.Peers),
            BuiltInModel.Vocabulary);
        _blocks = BlocksService.ForWorker(
            Worker, _store, takesPuts: false, Transfer, new BlockServingOptions(), TimeProvider.System);
        Worker.Runner.Observer = (sequence, position, logits) =>
            _logits[(Key(sequence.Tokens[..sequence.PromptLength]), position)] = logits.ToArray();
    }

    public KimiWorker Worker { get; }

    public KvBlockStore? Store => _store;

    public TransferEngine Transfer { get; }

    public string Address { get; private set; } = "";

    public int BlockTokens => Worker.Model.KvLayout.BlockTokens;

    public static async Task<WorkerNode> StartAsync(NodePlan? plan = null)
    {
        var node = new WorkerNode(plan ?? new NodePlan());
        node._server = await LoopbackServer.StartAsync(
            new PrefillService(node.Worker, NullLogger<PrefillService>.Instance), node.Transfer.Service,
            blocks: node._blocks);
        node.Address = node._server.Address;
        node.Worker.ListensAt(node.Address);
        return node;
    }

    public static GenerationRequest Request(int[] prompt, string prefillAddress = "", int maxNewTokens = 8) => new()
    {
        RequestId = "r",
        PromptTokens = prompt,
        MaxNewTokens = maxNewTokens,
        StopTokens = [WorkerSession.EndOfMessage],
        PrefillAddress = prefillAddress,
    };

    public async Task<NodeAnswer> AskAsync(GenerationRequest request, CancellationToken cancellation = default)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(Patience);
        var tokens = new List<int>();
        var cached = -1;
        var saved = 0.0;
        GenerationFinished? finished = null;
        await foreach (var next in Worker.GenerateAsync(request, limit.Token))
        {
            switch (next)
            {
                case PrefillFinished prefill:
                    Assert.That(cached, Is.EqualTo(-1), "prefill_finished came twice");
                    cached = prefill.CachedTokens;
                    saved = prefill.SecondsSaved;
                    break;
                case TokenGenerated token:
                    tokens.Add(token.TokenId);
                    break;
                case GenerationFinished last:
                    finished = last;
                    break;
            }
        }

        return new NodeAnswer(tokens, cached, finished!.Reason, finished.Message, saved);
    }

    /// <summary>The logits from which a token after a prompt was drawn; null if that was elsewhere.</summary>
    public float[]? Logits(int[] prompt, int position) => _logits.GetValueOrDefault((Key(prompt), position));

    /// <summary>Which full blocks of a prompt the store has.</summary>
    public bool[] StoredBlocks(GenerationRequest request)
    {
        var model = Worker.Model;
        var chain = new BlockKeyChain(
            BlockKeyChain.Root(model.Fingerprint, model.KvLayout, request.CacheSalt), BlockTokens);
        chain.Extend([.. request.PromptTokens]);
        return [.. chain.Keys.ToArray().Select(key => _store!.Contains(key))];
    }

    public double Metric(string name) => Worker.Status().Metrics.Single(metric => metric.Name == name).Value;

    /// <summary>Breaks off every call to this node; nobody reaches it any more.</summary>
    public async Task KillServerAsync()
    {
        await _server!.DisposeAsync();
        _server = null;
    }

    /// <summary>Waits until something is so.</summary>
    public static async Task UntilAsync(Func<bool> wanted, string what)
    {
        using var limit = new CancellationTokenSource(Patience);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(2));
        while (!wanted())
        {
            try
            {
                await timer.WaitForNextTickAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                Assert.Fail($"not within {Patience}: {what}");
            }
        }
    }

    /// <summary>Waits until nothing is held, and verifies the engine's accounting.</summary>
    public async Task RequireEmptyAsync(string what)
    {
        await UntilAsync(
            () => Worker.Status() is { Waiting: 0, Running: 0, BlocksHeld: 0 } && Metric("requests_exporting") == 0
                && Transfer.Statistics() is { Sessions: 0, Reservations: 0 },
            $"{what}: {Worker.Status() with { Metrics = [] }}, {Transfer.Statistics()}");
        await Worker.OnEngineAsync(engine =>
        {
            engine.CheckIntegrity();
            return true;
        });
    }

    public async ValueTask DisposeAsync()
    {
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }

        await _blocks.DisposeAsync();
        await Worker.DisposeAsync().AsTask().WaitAsync(Patience);
        await Transfer.DisposeAsync();
        if (_store is not null)
        {
            await _store.DisposeAsync();
        }

        _channels.Dispose();
        _model.Dispose();
    }

    private static string Key(ReadOnlySpan<int> prompt) => string.Join(' ', prompt.ToArray());
}

/// <summary>What a request came to.</summary>
internal sealed record NodeAnswer(
    List<int> Tokens, int CachedTokens, FinishReason Reason, string? Message, double SecondsSaved);
