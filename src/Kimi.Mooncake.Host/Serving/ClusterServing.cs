using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Cluster.Contexts;
using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Gateway;
using Kimi.Mooncake.Transfer;
using Kimi.Mooncake.Worker;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>
/// One process of a cluster: conductor, worker or store node, and gateway, as far as its roles say. They share one gRPC
/// server and speak to each other as to others, but for a gateway and its own conductor.
/// </summary>
internal sealed class ClusterServing
{
    /// <summary>What a message with a context has beside its texts, at most.</summary>
    private const int ContextMessageRestBytes = 48 << 10;

    private readonly ServeContext _context;
    private readonly ServeOptions _options;
    private readonly PeerChannels _channels;
    private readonly LoadedModel? _model;
    private ConductorLoop? _conductor;
    private ContextCatalog? _contexts;
    private ServedNode? _node;

    private ClusterServing(ServeContext context)
    {
        _context = context;
        _options = context.Bind<ServeOptions>();

        // A conductor knows its cluster's model from the nodes.
        var model = context.Bind<ModelOptions>();
        _model = model.Path.Length > 0 || _options.Role != ServeRoles.Conductor
            ? context.Parts.Keep(LoadedModel.Open(model, context.Bind<WorkerOptions>()))
            : null;
        _channels = context.Parts.Keep(new PeerChannels(context.Bind<PeerOptions>(), context.Loggers));
    }

    /// <summary>Opens what the roles need.</summary>
    public static async Task<ServedProcess> OpenAsync(ServeContext context, CancellationToken cancellationToken)
    {
        var serving = new ClusterServing(context);
        var services = serving.OpenServices();
        Uri? rpc = null;
        if (services.Count > 0)
        {
            rpc = await serving.ListenAsync(services, cancellationToken).ConfigureAwait(false);
            if (serving._conductor is { } conductor)
            {
                // Closed before the server, which would wait for the memberships to end.
                context.Parts.Keep(conductor);
            }

            if (serving._node is { } listening)
            {
                // Likewise, for the streams of other nodes' frames; closing it twice does no harm.
                context.Parts.Keep(listening.Transfer);
            }
        }

        serving.JoinCluster(rpc);
        var refused = serving._node is { } node && !serving._options.RetryWhenRefused
            ? node.Refused
            : new TaskCompletionSource<string>().Task;
        if (serving._options.Role.HasFlag(ServeRoles.Gateway))
        {
            var generator = serving.OpenGenerator();
            var http = await context.StartGatewayAsync(
                generator, serving.ContextsForGateway(), serving._model!, cancellationToken).ConfigureAwait(false);
            return new ServedProcess(http, rpc, serving._model!.Id, serving._model.Fingerprint, refused);
        }

        await serving.StartStatusAsync(cancellationToken).ConfigureAwait(false);
        return new ServedProcess(rpc!, rpc, serving._model?.Id ?? "", serving._model?.Fingerprint ?? "", refused);
    }

    private static ConductorLoop NewConductor(ServeContext context) =>
        new(context.Bind<ConductorOptions>(), context.Time, context.Logger("Cluster"), context.Bind<ReplicaOptions>());

    private List<RpcService> OpenServices()
    {
        var services = new List<RpcService>();
        if (_options.HasConductor)
        {
            _conductor = NewConductor(_context);
            services.Add(RpcService.Of(
                new ConductorService(_conductor, _context.Time), Wire.Conductor.Descriptor));
            _contexts = _context.OpenContexts(
                _model, _context.Bind<PeerOptions>().MessageBytesMax - ContextMessageRestBytes);
            services.Add(RpcService.Of(new ContextsService(_contexts), Wire.Contexts.Descriptor));
        }

        if (_options.IsNode)
        {
            _node = ServedNode.Open(_context, _model!, _channels);
            services.AddRange(_node.Services);
        }

        return services;
    }

    private async Task<Uri> ListenAsync(IReadOnlyCollection<RpcService> services, CancellationToken cancellationToken)
    {
        var server = _context.Parts.Keep(await RpcServer.StartAsync(
            _context.Bind<RpcOptions>(), _context.Bind<PeerOptions>(), services,
            () => _node is null || _node.Status().Ready, _context.Loggers, _context.Time, cancellationToken)
            .ConfigureAwait(false));
        return server.Address;
    }

    private void JoinCluster(Uri? rpc)
    {
        if (_node is not null)
        {
            var conductor = _conductor is null ? _options.Conductor : NodeAddress.Reachable(rpc!);
            _node.Join(_context, _channels, conductor, rpc!);
        }
    }

    private ClusterTokenGenerator OpenGenerator()
    {
        var options = _context.Bind<RemoteWorkerOptions>();
        var logger = _context.Logger("Cluster");
        IRouter router = _conductor is { } conductor
            ? new LocalRouter(conductor)
            : _context.Parts.Keep(new RemoteRouter(
                _channels.Get(_options.Conductor), _options.Conductor, options, _context.Time, logger));
        return _context.Parts.Keep(new ClusterTokenGenerator(
            _context.CardOf(_model!), router, new WorkerClient(_channels.Get, _context.Time), options,
            _context.Bind<RetryOptions>(), _context.Time, logger));
    }

    /// <summary>Of the process with the conductor, so that all gateways of a cluster have the same.</summary>
    private IContextCatalog? ContextsForGateway() => _conductor is not null
        ? _contexts
        : new RemoteContextCatalog(
            _channels.Get(_options.Conductor), _options.Conductor,
            TimeSpan.FromMilliseconds(_context.Bind<RemoteWorkerOptions>().StatusTimeoutMs), _context.Time);

    private async Task StartStatusAsync(CancellationToken cancellationToken)
    {
        var options = _context.Bind<StatusOptions>();
        if (options.Port == 0)
        {
            return;
        }

        Func<WorkerStatus> status = _node is { } node
            ? node.Status
            : new ConductorStatus(new LocalRouter(_conductor!)).Read;
        var card = _node?.Member.Model ?? (_model is null ? null : _context.CardOf(_model));
        _context.Parts.Keep(
            await StatusServer.StartAsync(options, card, status, _context.Loggers, cancellationToken)
                .ConfigureAwait(false));
    }
}
