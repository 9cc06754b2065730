using System.Net.Sockets;
using Kimi.Mooncake.Cluster.Contexts;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Gateway;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Store;
using Kimi.Mooncake.Transfer;
using Kimi.Mooncake.Worker;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>The roles of one process, opened and closed together.</summary>
internal sealed class MooncakeServer : IAsyncDisposable
{
    private readonly OpenedParts _parts;

    private MooncakeServer(OpenedParts parts, ServedProcess process)
    {
        _parts = parts;
        Process = process;
    }

    /// <summary>Where the process listens, with true ports, and what it serves.</summary>
    public ServedProcess Process { get; }

    /// <summary>Where the gateway, or another process, listens.</summary>
    public Uri Address => Process.Address;

    /// <summary>Opens everything.</summary>
    /// <exception cref="SettingException">A setting does not fit the model, the machine or another one.</exception>
    /// <exception cref="IOException">The model cannot be read, or the port is in use.</exception>
    public static async Task<MooncakeServer> StartAsync(
        ResolvedSettings settings, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        settings.Bind<ServeOptions>().Check();
        var parts = new OpenedParts();
        try
        {
            var context = new ServeContext(settings, loggers, TimeProvider.System, parts);
            StartTelemetry(context);
            return new MooncakeServer(parts, await OpenAsync(context, cancellationToken).ConfigureAwait(false));
        }
        catch
        {
            await parts.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Lets open requests end as far as the limits allow, then closes everything.</summary>
    public ValueTask DisposeAsync() => _parts.DisposeAsync();

    private static async Task<ServedProcess> OpenAsync(ServeContext context, CancellationToken cancellationToken)
    {
        try
        {
            return context.Bind<ServeOptions>().Role == ServeRoles.All
                ? await OpenAllAsync(context, cancellationToken).ConfigureAwait(false)
                : await ClusterServing.OpenAsync(context, cancellationToken).ConfigureAwait(false);
        }
        catch (ArgumentException fault)
        {
            // The name of a C# parameter says nothing to an operator.
            throw new SettingException(
                fault.Message.Replace($" (Parameter '{fault.ParamName}')", "", StringComparison.Ordinal));
        }
        catch (PlatformNotSupportedException fault)
        {
            throw new SettingException($"worker.instructions: {fault.Message}");
        }
        catch (SocketException fault)
        {
            throw new CommandException($"cannot listen on {Listeners(context)}: {fault.Message}");
        }
        catch (Exception fault) when (fault is StoreException or ContextCatalogException)
        {
            throw new CommandException(fault.Message);
        }
    }

    /// <summary>Model, store, worker and gateway in this process, without gRPC.</summary>
    private static async Task<ServedProcess> OpenAllAsync(ServeContext context, CancellationToken cancellationToken)
    {
        var model = context.Parts.Keep(LoadedModel.Open(context.Bind<ModelOptions>(), context.Bind<WorkerOptions>()));
        var worker = context.Parts.Keep(new KimiWorker(
            model, context.Bind<WorkerOptions>(), context.Bind<EngineOptions>(), context.OpenStore(model),
            context.Bind<StoreConnectorOptions>(), context.Time, context.Logger("Worker"),
            vocabulary: context.Constraints(model)));
        var address = await context.StartGatewayAsync(worker, context.OpenContexts(model), model, cancellationToken)
            .ConfigureAwait(false);
        return new ServedProcess(
            address, Rpc: null, worker.Model.ModelId, worker.Model.Fingerprint,
            new TaskCompletionSource<string>().Task);
    }

    private static void StartTelemetry(ServeContext context)
    {
        var serve = context.Bind<ServeOptions>();
        var process = serve.NodeId.Length > 0 ? serve.NodeId : $"{Environment.MachineName}-{Environment.ProcessId}";
        context.Parts.Keep(Telemetry.Start(
            context.Bind<TelemetryOptions>(), process, ServeOptions.RoleSetting.Format(serve.Role), context.Loggers,
            context.Time));
    }

    private static string Listeners(ServeContext context)
    {
        var (serve, gateway) = (context.Bind<ServeOptions>(), context.Bind<GatewayOptions>());
        var (rpc, status) = (context.Bind<RpcOptions>(), context.Bind<StatusOptions>());
        var listeners = new List<string>();
        if ((serve.Role & (ServeRoles.All | ServeRoles.Gateway)) != 0)
        {
            listeners.Add($"{gateway.Address} port {gateway.Port}");
        }
        else if (status.Port > 0)
        {
            listeners.Add($"{status.Address} port {status.Port}");
        }

        if (serve.HasConductor || serve.IsNode)
        {
            listeners.Add($"{rpc.Address} port {rpc.Port}");
        }

        return string.Join(" or ", listeners);
    }
}
