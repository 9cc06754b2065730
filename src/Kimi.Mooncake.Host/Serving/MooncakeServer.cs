using System.Security.Cryptography;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Gateway;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Models.Gguf;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Tokenization;
using Kimi.Mooncake.Worker;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>
/// All roles in one process: model, store, worker and gateway, opened in that order and closed in the opposite one.
/// </summary>
internal sealed class MooncakeServer : IAsyncDisposable
{
    private readonly Stack<object> _opened = new();

    private MooncakeServer()
    {
    }

    /// <summary>Where the gateway listens, with the true port.</summary>
    public Uri Address { get; private set; } = null!;

    /// <summary>What is served.</summary>
    public ModelCard Model { get; private set; } = null!;

    /// <summary>Opens everything.</summary>
    /// <exception cref="SettingException">A setting does not fit the model or the machine.</exception>
    /// <exception cref="IOException">The model cannot be read, or the port is in use.</exception>
    public static async Task<MooncakeServer> StartAsync(
        ResolvedSettings settings, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var server = new MooncakeServer();
        try
        {
            await server.OpenAsync(settings, loggers, TimeProvider.System, cancellationToken).ConfigureAwait(false);
            return server;
        }
        catch
        {
            await server.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Lets open requests end as far as the gateway's limit allows, then closes everything.</summary>
    public async ValueTask DisposeAsync()
    {
        while (_opened.TryPop(out var part))
        {
            switch (part)
            {
                case GatewayServer gateway:
                    await gateway.StopAsync(CancellationToken.None).ConfigureAwait(false);
                    await gateway.DisposeAsync().ConfigureAwait(false);
                    break;
                case IAsyncDisposable asynchronous:
                    await asynchronous.DisposeAsync().ConfigureAwait(false);
                    break;
                default:
                    ((IDisposable)part).Dispose();
                    break;
            }
        }
    }

    private async Task OpenAsync(
        ResolvedSettings settings, ILoggerFactory loggers, TimeProvider time, CancellationToken cancellationToken)
    {
        try
        {
            var model = Keep(LoadedModel.Open(settings.Bind<ModelOptions>()));
            var vocabulary = GgufVocabulary.Read(model.File);
            var tokenizer = new KimiTokenizer(
                new BpeVocabulary(vocabulary.Tokens, vocabulary.TokenTypes, vocabulary.Merges));
            var worker = Keep(OpenWorker(settings, model, loggers, time));
            Model = worker.Model;
            var parts = new GatewayParts(
                worker, tokenizer, new KimiChatTemplate(tokenizer), time, loggers, NewSeed());
            var gateway = GatewayServer.Create(settings.Bind<GatewayOptions>(), parts);
            await gateway.StartAsync(cancellationToken).ConfigureAwait(false);
            Keep(gateway);
            Address = gateway.Address;
        }
        catch (ArgumentException fault)
        {
            throw new SettingException(fault.Message);
        }
        catch (Exception fault) when (fault is StoreException or InvalidDataException)
        {
            throw new CommandException(fault.Message);
        }
    }

    private KimiWorker OpenWorker(
        ResolvedSettings settings, LoadedModel model, ILoggerFactory loggers, TimeProvider time)
    {
        var options = settings.Bind<WorkerOptions>();
        var storeOptions = settings.Bind<KvBlockStoreOptions>();
        KvBlockStore? store = null;
        if (storeOptions.Directory.Length > 0)
        {
            store = Keep(KvBlockStore.Open(
                storeOptions, KimiWorker.LayoutOf(model, options), model.Fingerprint,
                loggers.CreateLogger("Kimi.Mooncake.Store"), time));
        }

        return new KimiWorker(
            model, options, settings.Bind<EngineOptions>(), store, settings.Bind<StoreConnectorOptions>(), time,
            loggers.CreateLogger("Kimi.Mooncake.Worker"));
    }

    private T Keep<T>(T part)
        where T : class
    {
        _opened.Push(part);
        return part;
    }

    private static ulong NewSeed()
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        RandomNumberGenerator.Fill(bytes);
        return BitConverter.ToUInt64(bytes);
    }
}
