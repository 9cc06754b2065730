using System.Security.Cryptography;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Cluster.Contexts;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Gateway;
using Kimi.Mooncake.Gateway.Contexts;
using Kimi.Mooncake.Gateway.Tenancy;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Models;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Tokenization;
using Kimi.Mooncake.Tokenization.Grammars;
using Kimi.Mooncake.Worker;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>What every role is opened with, and the parts that several of them have.</summary>
/// <param name="Settings">The settings in force.</param>
/// <param name="Loggers">Loggers of the process.</param>
/// <param name="Time">Clock.</param>
/// <param name="Parts">Takes over what is opened.</param>
internal sealed record ServeContext(
    ResolvedSettings Settings, ILoggerFactory Loggers, TimeProvider Time, OpenedParts Parts)
{
    // Enough to tell models apart; the store itself compares the whole fingerprint.
    private const int FolderFingerprintDigits = 16;

    private TenantDirectory? _tenants;
    private KimiTokenizer? _tokenizer;

    public T Bind<T>()
        where T : class => Settings.Bind<T>();

    public ILogger Logger(string project) => Loggers.CreateLogger($"Kimi.Mooncake.{project}");

    /// <summary>Opens the store with its quotas; null, said in the log, where its folder is not set.</summary>
    /// <exception cref="StoreException">It cannot be opened.</exception>
    public KvBlockStore? OpenStore(LoadedModel model)
    {
        var options = Bind<KvBlockStoreOptions>();
        var logger = Logger("Store");
        if (options.Directory.Length == 0)
        {
            ServingLog.StoreOff(logger);
            return null;
        }

        // A store's folder belongs to one model and layout; serving another one in between must not empty it.
        var layout = KimiWorker.LayoutOf(model, Bind<WorkerOptions>());
        var folder = $"{FolderOf(model)}-{layout.ElementType}".ToLowerInvariant();
        var ownFolder = options with { Directory = Path.Combine(options.Directory, folder) };
        var tenants = Tenants();
        var store = Parts.Keep(KvBlockStore.Open(ownFolder, layout, model.Fingerprint, logger, Time));
        if (tenants is not null)
        {
            Parts.Keep(new StoreQuotas(store, tenants));
        }

        return store;
    }

    /// <summary>The tenants of the process; null where no file names any.</summary>
    /// <exception cref="SettingException">The file cannot be used.</exception>
    public TenantDirectory? Tenants()
    {
        var options = Bind<TenantsOptions>();
        if (options.File.Length == 0 || _tenants is not null)
        {
            return _tenants;
        }

        try
        {
            return _tenants = Parts.Keep(new TenantDirectory(options, Time, Logger("Tenants")));
        }
        catch (TenantsFileException fault)
        {
            throw new SettingException($"setting tenants.file: {fault.Message}");
        }
    }

    /// <summary>Opens the catalog of contexts; null, said in the log, where there is no folder for it.</summary>
    /// <param name="model">The model that is served; null where this process does not know it.</param>
    /// <param name="bytesMax">Most bytes of a context that other processes can be sent.</param>
    /// <exception cref="ContextCatalogException">It cannot be opened.</exception>
    public ContextCatalog? OpenContexts(LoadedModel? model, int bytesMax = int.MaxValue)
    {
        var options = Bind<ContextCatalogOptions>();
        var logger = Logger("Cluster");
        var store = Bind<KvBlockStoreOptions>().Directory;
        if (options.Directory.Length == 0 && store.Length == 0)
        {
            ServingLog.ContextsOff(logger);
            return null;
        }

        var beside = model is null ? "contexts" : $"{FolderOf(model)}-contexts";
        var directory = options.Directory.Length > 0 ? options.Directory : Path.Combine(store, beside);
        options = options with
        {
            Directory = directory,
            ContextBytesMax = Math.Min(options.ContextBytesMax, bytesMax),
        };
        return Parts.Keep(ContextCatalog.Open(options, Time, logger));
    }

    /// <summary>The model's tokenizer, read once for all parts of the process.</summary>
    /// <exception cref="IOException">There is no vocabulary, or it is of another kind or malformed.</exception>
    public KimiTokenizer Tokenizer(LoadedModel model) => _tokenizer ??= ModelTokenizer.Of(model.Source);

    /// <summary>
    /// The vocabulary as constraints need it, prepared when the first request has one. A tokenizer in files of its own
    /// is read now, since other files may lie there by then.
    /// </summary>
    /// <exception cref="IOException">The tokenizer's files are malformed.</exception>
    public Lazy<ConstraintVocabulary> Constraints(LoadedModel model)
    {
        if (model.Source.Vocabulary is TiktokenVocabularySource)
        {
            Tokenizer(model);
        }

        return new(() => new ConstraintVocabulary(Tokenizer(model).Vocabulary));
    }

    /// <summary>Opens the HTTP API over a generator.</summary>
    /// <exception cref="IOException">The port is in use.</exception>
    public async Task<Uri> StartGatewayAsync(
        ITokenGenerator generator, IContextCatalog? contexts, LoadedModel model, CancellationToken cancellationToken)
    {
        var tokenizer = Tokenizer(model);
        var template = ModelChatTemplate.Of(
            Bind<ServeOptions>().ChatTemplate, model.Source, tokenizer, Logger("Gateway"));
        var parts = new GatewayParts(generator, tokenizer, template, Time, Loggers, NewSeed(), Tenants())
        {
            Contexts = contexts,
            Caching = Bind<ContextCachingOptions>(),
        };
        var gateway = Parts.Keep(GatewayServer.Create(Bind<GatewayOptions>(), parts));
        await gateway.StartAsync(cancellationToken).ConfigureAwait(false);
        return gateway.Address;
    }

    /// <summary>What the model file and the settings say of the model.</summary>
    public ModelCard CardOf(LoadedModel model) => new(
        model.Id, model.Config.ContextLength, model.Config.VocabularySize, model.Fingerprint,
        KimiWorker.LayoutOf(model, Bind<WorkerOptions>()), Time.GetUtcNow().ToUnixTimeSeconds());

    private string FolderOf(LoadedModel model)
    {
        var blockTokens = KimiWorker.LayoutOf(model, Bind<WorkerOptions>()).BlockTokens;
        return $"{model.Fingerprint[..FolderFingerprintDigits]}-{blockTokens}";
    }

    /// <summary>Where the seeds of requests without one start; nobody outside can guess it.</summary>
    private static ulong NewSeed()
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        RandomNumberGenerator.Fill(bytes);
        return BitConverter.ToUInt64(bytes);
    }
}
