using System.Security.Cryptography;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Gateway;
using Kimi.Mooncake.Gateway.Tenancy;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Store;
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

    public T Bind<T>()
        where T : class => Settings.Bind<T>();

    public ILogger Logger(string project) => Loggers.CreateLogger($"Kimi.Mooncake.{project}");

    /// <summary>Opens the store, with the quotas of the tenants; null, said in the log, where its folder is not set.</summary>
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
        var name = $"{model.Fingerprint[..FolderFingerprintDigits]}-{layout.BlockTokens}";
        var ownFolder = options with { Directory = Path.Combine(options.Directory, name) };
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

    /// <summary>Opens the HTTP API over a generator.</summary>
    /// <exception cref="IOException">The port is in use.</exception>
    public async Task<Uri> StartGatewayAsync(
        ITokenGenerator generator, LoadedModel model, CancellationToken cancellationToken)
    {
        var tokenizer = ModelTokenizer.Of(model.File);
        var parts = new GatewayParts(
            generator, tokenizer, ModelTokenizer.TemplateOf(tokenizer, Loggers), Time, Loggers, NewSeed(),
            Tenants());
        var gateway = Parts.Keep(GatewayServer.Create(Bind<GatewayOptions>(), parts));
        await gateway.StartAsync(cancellationToken).ConfigureAwait(false);
        return gateway.Address;
    }

    /// <summary>What the model file and the settings say of the model.</summary>
    public ModelCard CardOf(LoadedModel model) => new(
        model.Id, model.Config.ContextLength, model.Config.VocabularySize, model.Fingerprint,
        KimiWorker.LayoutOf(model, Bind<WorkerOptions>()), Time.GetUtcNow().ToUnixTimeSeconds());

    /// <summary>Where the seeds of requests without one start; nobody outside can guess it.</summary>
    private static ulong NewSeed()
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        RandomNumberGenerator.Fill(bytes);
        return BitConverter.ToUInt64(bytes);
    }
}
