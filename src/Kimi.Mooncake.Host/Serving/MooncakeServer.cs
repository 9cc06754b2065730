using System.Net.Sockets;
using System.Security.Cryptography;
using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Gateway;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Transfer;
using Kimi.Mooncake.Worker;
using Microsoft.Extensions.Logging;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>
/// The roles of one process. All: model, store, worker and gateway, opened in that order and closed in the opposite
/// one. A worker process has a gRPC server in place of the gateway, and a gateway process a remote worker.
/// </summary>
internal sealed class MooncakeServer : IAsyncDisposable
{
    // Enough to tell models apart; the store itself compares the whole fingerprint.
    private const int FolderFingerprintDigits = 16;

    private readonly Stack<object> _opened = new();

    private MooncakeServer()
    {
    }

    /// <summary>Where the gateway, or a worker process, listens, with the true port.</summary>
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
            var role = settings.Bind<ServeOptions>().Role;
            ITokenGenerator generator = role == ServeRoles.Gateway
                ? await ConnectAsync(settings, model, loggers, time, cancellationToken).ConfigureAwait(false)
                : Keep(OpenWorker(settings, model, loggers, time));
            Model = generator.Model;
            if (!IsGateway(role))
            {
                var service = new GenerationService(generator, loggers.CreateLogger<GenerationService>());
                var server = Keep(await RpcServer.StartAsync(
                    settings.Bind<RpcOptions>(), settings.Bind<PeerOptions>(),
                    [RpcService.Of(service, Wire.Generation.Descriptor)], () => generator.Status().Ready,
                    loggers, time, cancellationToken).ConfigureAwait(false));
                Address = server.Address;
                if (settings.Bind<StatusOptions>() is { Port: > 0 } status)
                {
                    Keep(await StatusServer.StartAsync(status, Model, generator.Status, loggers, cancellationToken)
                        .ConfigureAwait(false));
                }

                return;
            }

            var tokenizer = ModelTokenizer.Of(model.File);
            var parts = new GatewayParts(
                generator, tokenizer, ModelTokenizer.TemplateOf(tokenizer, loggers), time, loggers, NewSeed());
            var gateway = Keep(GatewayServer.Create(settings.Bind<GatewayOptions>(), parts));
            await gateway.StartAsync(cancellationToken).ConfigureAwait(false);
            Address = gateway.Address;
        }
        catch (ArgumentException fault)
        {
            // The name of a C# parameter says nothing to an operator.
            throw new SettingException(
                fault.Message.Replace($" (Parameter '{fault.ParamName}')", "", StringComparison.Ordinal));
        }
        catch (SocketException fault)
        {
            var (gateway, rpc) = (settings.Bind<GatewayOptions>(), settings.Bind<RpcOptions>());
            var (address, port) = !IsGateway(settings.Bind<ServeOptions>().Role)
                ? (rpc.Address, rpc.Port)
                : (gateway.Address, gateway.Port);
            throw new CommandException($"cannot listen on {address} port {port}: {fault.Message}");
        }
        catch (Exception fault) when (fault is StoreException or WorkerUnavailableException)
        {
            throw new CommandException(fault.Message);
        }
    }

    private static bool IsGateway(ServeRoles roles) => (roles & (ServeRoles.All | ServeRoles.Gateway)) != 0;

    private async Task<ITokenGenerator> ConnectAsync(
        ResolvedSettings settings, LoadedModel model, ILoggerFactory loggers, TimeProvider time,
        CancellationToken cancellationToken)
    {
        var options = settings.Bind<RemoteWorkerOptions>();
        var channel = Keep(PeerChannel.Create(options.Address, settings.Bind<PeerOptions>(), loggers));
        var worker = Keep(await RemoteTokenGenerator.ConnectAsync(
            channel.Invoker, options, time, loggers.CreateLogger("Kimi.Mooncake.Cluster"), cancellationToken)
            .ConfigureAwait(false));
        return worker.Model.Fingerprint == model.Fingerprint
            ? worker
            : throw new CommandException(
                $"the model files differ: worker {options.Address} serves {worker.Model.Fingerprint}, " +
                $"{model.File.Path} is {model.Fingerprint}");
    }

    private KimiWorker OpenWorker(
        ResolvedSettings settings, LoadedModel model, ILoggerFactory loggers, TimeProvider time)
    {
        var options = settings.Bind<WorkerOptions>();
        var store = OpenStore(settings.Bind<KvBlockStoreOptions>(), model, options, loggers, time);
        return new KimiWorker(
            model, options, settings.Bind<EngineOptions>(), store, settings.Bind<StoreConnectorOptions>(), time,
            loggers.CreateLogger("Kimi.Mooncake.Worker"));
    }

    private KvBlockStore? OpenStore(
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

        // A store's folder belongs to one model and layout; serving another one in between must not empty it.
        var layout = KimiWorker.LayoutOf(model, workerOptions);
        var name = $"{model.Fingerprint[..FolderFingerprintDigits]}-{layout.BlockTokens}";
        var ownFolder = options with { Directory = Path.Combine(options.Directory, name) };
        return Keep(KvBlockStore.Open(ownFolder, layout, model.Fingerprint, logger, time));
    }

    private T Keep<T>(T part)
        where T : class
    {
        _opened.Push(part);
        return part;
    }

    /// <summary>Where the seeds of requests without one start; nobody outside can guess it.</summary>
    private static ulong NewSeed()
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        RandomNumberGenerator.Fill(bytes);
        return BitConverter.ToUInt64(bytes);
    }
}
