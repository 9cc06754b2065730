using System.Security.Cryptography;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Gateway;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Worker;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>All roles in one process: model, store, worker and gateway, in the order in which they need each other.</summary>
internal sealed class Node : IAsyncDisposable
{
    private readonly LoadedModel _model;
    private readonly KvBlockStore? _store;
    private readonly KimiWorker _worker;
    private readonly GatewayServer _gateway;

    private Node(LoadedModel model, KvBlockStore? store, KimiWorker worker, GatewayServer gateway)
    {
        _model = model;
        _store = store;
        _worker = worker;
        _gateway = gateway;
    }

    /// <summary>Where the gateway listens.</summary>
    public Uri Address => _gateway.Address;

    /// <summary>Name of the model.</summary>
    public string ModelId => _model.Id;

    /// <summary>Starts everything; what was started is ended again when a part fails.</summary>
    /// <exception cref="Models.Gguf.ModelFileException">The model cannot be read.</exception>
    /// <exception cref="StoreException">The store's folder cannot be used.</exception>
    /// <exception cref="ArgumentException">Settings do not fit each other; the message names them.</exception>
    public static async Task<Node> StartAsync(
        ResolvedSettings settings, TimeProvider time, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var model = LoadedModel.Open(settings.Bind<ModelOptions>());
        var started = new Stack<IAsyncDisposable>();
        try
        {
            var tokenizer = ModelTokenizer.Of(model.File);
            var workerOptions = settings.Bind<WorkerOptions>();
            var storeOptions = settings.Bind<KvBlockStoreOptions>();
            var store = OpenStore(storeOptions, model, workerOptions, loggers, time);
            if (store is not null)
            {
                started.Push(store);
            }

            var worker = new KimiWorker(
                model,
                workerOptions,
                settings.Bind<EngineOptions>(),
                store,
                settings.Bind<StoreConnectorOptions>(),
                time,
                loggers.CreateLogger("Kimi.Mooncake.Worker"));
            started.Push(worker);
            var parts = new GatewayParts(
                worker, tokenizer, ModelTokenizer.TemplateOf(tokenizer, loggers), time, loggers, RandomSeed());
            var gateway = GatewayServer.Create(settings.Bind<GatewayOptions>(), parts);
            started.Push(gateway);
            await gateway.StartAsync(cancellationToken).ConfigureAwait(false);
            return new Node(model, store, worker, gateway);
        }
        catch
        {
            while (started.TryPop(out var part))
            {
                await part.DisposeAsync().ConfigureAwait(false);
            }

            model.Dispose();
            throw;
        }
    }

    /// <summary>Accepts nothing more, ends open requests, writes what is to be stored, and frees everything.</summary>
    public async ValueTask DisposeAsync()
    {
        await _gateway.StopAsync(CancellationToken.None).ConfigureAwait(false);
        await _gateway.DisposeAsync().ConfigureAwait(false);
        await _worker.DisposeAsync().ConfigureAwait(false);
        if (_store is not null)
        {
            await _store.DisposeAsync().ConfigureAwait(false);
        }

        _model.Dispose();
    }

    private static KvBlockStore? OpenStore(
        KvBlockStoreOptions options,
        LoadedModel model,
        WorkerOptions workerOptions,
        ILoggerFactory loggers,
        TimeProvider time)
    {
        var logger = loggers.CreateLogger("Kimi.Mooncake.Store");
        if (options.Directory.Length == 0)
        {
            ServingLog.StoreOff(logger);
            return null;
        }

        var layout = KimiWorker.LayoutOf(model, workerOptions);
        return KvBlockStore.Open(options, layout, model.Fingerprint, logger, time);
    }

    /// <summary>Where the seeds of requests without one start; requests must not be predictable from outside.</summary>
    private static ulong RandomSeed()
    {
        Span<byte> seed = stackalloc byte[sizeof(ulong)];
        RandomNumberGenerator.Fill(seed);
        return BitConverter.ToUInt64(seed);
    }
}
