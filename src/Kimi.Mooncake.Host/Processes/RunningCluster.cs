using System.Diagnostics;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Serving;

namespace Kimi.Mooncake.Host.Processes;

/// <summary>The processes of a cluster on this machine: started, watched, and ended together.</summary>
internal sealed class RunningCluster : IAsyncDisposable
{
    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan PollPatience = TimeSpan.FromSeconds(5);

    private readonly ClusterConfig _config;
    private readonly ClusterPlace _place;
    private readonly List<ClusterProcess> _processes = [];
    private readonly Uri? _conductor;

    private RunningCluster(ClusterConfig config, ClusterPlace place)
    {
        _config = config;
        _place = place;
        var ports = config.Processes.ToDictionary(
            process => process, process => ProcessPorts.Of(process, place.BasePort));
        _conductor = config.Conductor is { } conductor ? RpcOf(conductor, ports[conductor]) : null;
        foreach (var process in config.Processes)
        {
            _processes.Add(Create(process, ports[process]));
        }
    }

    public IReadOnlyList<ClusterProcess> Processes => _processes;

    /// <summary>Where clients ask.</summary>
    public Uri Gateway => _processes.First(process => process.Config.IsGateway).Http;

    /// <summary>Where nodes register; null for a cluster of one process.</summary>
    public Uri? Conductor => _conductor;

    /// <summary>Starts all processes and waits until each of them answers and is registered.</summary>
    /// <exception cref="CommandException">One ended or did not answer; the message has the end of its log.</exception>
    public static async Task<RunningCluster> StartAsync(
        ClusterConfig config, ClusterPlace place, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(place.Folder);
        var cluster = new RunningCluster(config, place);
        try
        {
            foreach (var process in cluster._processes)
            {
                process.Start();
            }

            await cluster.WaitUntilReadyAsync(cluster._processes, cancellationToken).ConfigureAwait(false);
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Adds processes while the others run, and waits until they are registered.</summary>
    /// <exception cref="CommandException">One ended or did not answer.</exception>
    public async Task AddAsync(IReadOnlyList<ProcessConfig> configs, CancellationToken cancellationToken)
    {
        var added = configs
            .Select(config => Create(config, ProcessPorts.Of(config, _place.BasePort))).ToList();
        _processes.AddRange(added);
        foreach (var process in added)
        {
            process.Start();
        }

        await WaitUntilReadyAsync(added, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Waits until processes that were started answer and are registered.</summary>
    /// <exception cref="CommandException">One ended or did not answer.</exception>
    public async Task WaitUntilReadyAsync(
        IReadOnlyCollection<ClusterProcess> processes, CancellationToken cancellationToken)
    {
        var start = Stopwatch.GetTimestamp();
        foreach (var process in processes)
        {
            using var client = new CompletionClient(process.Http);
            await UntilAsync(
                () => client.IsThereAsync(PollPatience, cancellationToken), process, start, cancellationToken)
                .ConfigureAwait(false);
        }
    }

    /// <summary>Clients of the gateway and of every process that computes.</summary>
    public ServeTarget OpenTarget() => new(
        Gateway, [.. _processes.Where(process => process.Config.IsNode).Select(process => process.Http)]);

    /// <summary>Stops the nodes after the gateway, so that nobody asks a node that is gone.</summary>
    /// <returns>The processes that did not stop by themselves.</returns>
    public async Task<IReadOnlyList<ClusterProcess>> StopAsync()
    {
        var late = new List<ClusterProcess>();
        foreach (var group in _processes.GroupBy(process => process.Config.IsGateway).OrderBy(group => !group.Key))
        {
            var stopped = await Task.WhenAll(group.Select(async process =>
                (Process: process, IsClean: await process.StopAsync(_place.StopTimeMax).ConfigureAwait(false))))
                .ConfigureAwait(false);
            late.AddRange(stopped.Where(one => !one.IsClean).Select(one => one.Process));
        }

        return late;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var process in _processes)
        {
            await process.DisposeAsync().ConfigureAwait(false);
        }
    }

    private static Uri RpcOf(ProcessConfig process, ProcessPorts ports)
    {
        var isSecured = process.Settings.LastOrDefault(setting => setting.Name == "peer.tls") is { Text.Length: > 0 };
        var scheme = isSecured ? Uri.UriSchemeHttps : Uri.UriSchemeHttp;
        return new Uri($"{scheme}://127.0.0.1:{(process.IsGateway ? ports.Other : ports.Main)}");
    }

    private ClusterProcess Create(ProcessConfig process, ProcessPorts ports)
    {
        var folder = Path.Combine(_place.Folder, process.Name);
        return new ClusterProcess(
            process, ports, Path.Combine(_place.Folder, $"{process.Name}.log"),
            ["serve", .. Settings(process, ports, folder).SelectMany(setting => new[] { "--set", setting })]);
    }

    private IEnumerable<string> Settings(ProcessConfig process, ProcessPorts ports, string folder)
    {
        foreach (var given in process.Settings)
        {
            yield return $"{given.Name}={given.Text.Replace("{dir}", folder, StringComparison.Ordinal)}";
        }

        yield return $"model.path={_place.Model}";
        yield return $"serve.role={ServeOptions.RoleSetting.Format(process.Roles)}";
        yield return "serve.stop_at_end_of_input=true";
        if (process.Roles == ServeRoles.All)
        {
            yield return $"gateway.port={ports.Main}";
            yield break;
        }

        yield return process.IsGateway ? $"gateway.port={ports.Main}" : $"status.port={ports.Other}";
        yield return $"rpc.port={(process.IsGateway ? ports.Other : ports.Main)}";
        yield return $"serve.node_id={process.Name}";
        if (process != _config.Conductor)
        {
            yield return $"serve.conductor={_conductor!.AbsoluteUri.TrimEnd('/')}";
        }

        if (process.IsNode && _place.Advertise is { } advertise)
        {
            yield return
                $"serve.advertised_address={advertise(process, RpcOf(process, ports)).AbsoluteUri.TrimEnd('/')}";
        }
    }

    private async Task UntilAsync(
        Func<Task<bool>> isThere, ClusterProcess process, long start, CancellationToken cancellationToken)
    {
        while (!await isThere().ConfigureAwait(false))
        {
            if (process.Exited.IsCompleted)
            {
                throw new CommandException(
                    $"{process.Config.Name} ended with exit code {await process.Exited.ConfigureAwait(false)}:\n" +
                    process.Tail());
            }

            if (Stopwatch.GetElapsedTime(start) > _place.StartTimeMax)
            {
                throw new CommandException(
                    $"{process.Config.Name} was not ready within {_place.StartTimeMax.TotalSeconds} s:\n" +
                    process.Tail());
            }

            await Task.Delay(PollInterval, cancellationToken).ConfigureAwait(false);
        }
    }
}
