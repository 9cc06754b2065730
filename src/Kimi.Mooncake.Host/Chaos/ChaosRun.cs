using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Processes;
using Kimi.Mooncake.Host.Serving;

namespace Kimi.Mooncake.Host.Chaos;

/// <summary>
/// A cluster of its own to which the faults of a schedule are done while clients ask. Nobody reaches a node but through
/// a proxy of ours, and one frame of 10,000 is sent with a wrong byte.
/// </summary>
internal sealed class ChaosRun : IAsyncDisposable
{
    private const int FramesPerCorruptOne = 10_000;
    private const long DiskBytes = 64L << 20;
    private const long DiskSegmentBytes = 4L << 20;
    private const string ConductorName = "conductor";

    private readonly ChaosPlan _plan;
    private readonly Terminal _terminal;
    private readonly Dictionary<string, LossyProxy> _proxies = new(StringComparer.Ordinal);
    private readonly Dictionary<string, SmallDisk> _disks = new(StringComparer.Ordinal);
    private readonly List<string> _notPossible = [];
    private readonly ConcurrentQueue<string> _died = new();
    private RunningCluster? _cluster;

    public ChaosRun(ChaosPlan plan, Terminal terminal)
    {
        _plan = plan;
        _terminal = terminal;
    }

    /// <summary>The cluster; only after <see cref="StartAsync"/>.</summary>
    public RunningCluster Cluster => _cluster ?? throw new InvalidOperationException("the cluster was not started");

    /// <summary>What the schedule may do to the processes; only after <see cref="StartAsync"/>.</summary>
    public IReadOnlyList<FaultTarget> Targets =>
    [
        .. from process in Cluster.Processes
           let kinds = KindsFor(process.Config).ToList()
           where kinds.Count > 0
           select new FaultTarget(process.Config.Name, kinds),
    ];

    /// <summary>Starts the cluster, its proxies and its disks.</summary>
    /// <exception cref="CommandException">A process ended or did not answer.</exception>
    public async Task StartAsync(ClusterConfig config, ClusterPlace place, CancellationToken cancellationToken)
    {
        var processes = new List<ProcessConfig>();
        foreach (var process in WithConductor(config))
        {
            processes.Add(await PrepareAsync(process, place, cancellationToken).ConfigureAwait(false));
        }

        _cluster = await RunningCluster.StartAsync(
            config with { Processes = processes }, place with { Advertise = Advertise }, cancellationToken)
            .ConfigureAwait(false);
    }

    /// <summary>Does what the schedule says while the clients ask, and looks at what is left.</summary>
    public async Task<ChaosReport> RunAsync(CancellationToken cancellationToken)
    {
        var schedule = FaultSchedule.Create(_plan.Seed, _plan.Duration, Targets);
        using var target = Cluster.OpenTarget();
        var clients = new ChaosClients(_plan, target.Gateway, _terminal);
        var start = Stopwatch.GetTimestamp();
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var asking = clients.RunAsync(ending.Token, cancellationToken);
        try
        {
            await Task.WhenAll(schedule.Select(fault => DoAsync(fault, cancellationToken))).ConfigureAwait(false);
            var left = _plan.Duration - Stopwatch.GetElapsedTime(start);
            await Task.Delay(left > TimeSpan.Zero ? left : TimeSpan.Zero, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            await ending.CancelAsync().ConfigureAwait(false);
            await asking.ConfigureAwait(false);
        }

        var (held, works) = await LookAsync(target, clients, cancellationToken).ConfigureAwait(false);
        return clients.AddTo(new ChaosReport
        {
            Seed = _plan.Seed,
            DurationS = Stopwatch.GetElapsedTime(start).TotalSeconds,
            Schedule = schedule,
            NotPossible = _notPossible,
            Requests = 0,
            AnswersRight = 0,
            Aborted = 0,
            CleanErrors = new Dictionary<string, int>(),
            AnswersWrong = 0,
            Broken = 0,
            Stuck = 0,
            Problems = [],
            Died = [.. _died],
            E2eS = Distribution.Of([]),
            PoolsEmpty = held.Count == 0,
            Left = held,
            WorksAfterwards = works,
        });
    }

    public async ValueTask DisposeAsync()
    {
        if (_cluster is not null)
        {
            await _cluster.DisposeAsync().ConfigureAwait(false);
        }

        foreach (var proxy in _proxies.Values)
        {
            await proxy.DisposeAsync().ConfigureAwait(false);
        }

        foreach (var disk in _disks.Values)
        {
            await disk.DisposeAsync().ConfigureAwait(false);
        }
    }

    private async Task<(IReadOnlyList<string> Held, bool Works)> LookAsync(
        ServeTarget target, ChaosClients clients, CancellationToken cancellationToken)
    {
        foreach (var process in Cluster.Processes.Where(process => process.Exited.IsCompleted))
        {
            _died.Enqueue(await DescribeEndAsync(process).ConfigureAwait(false));
        }

        if (!_died.IsEmpty)
        {
            return (["not looked at: processes have died"], false);
        }

        await Cluster.WaitUntilReadyAsync(Cluster.Processes, cancellationToken).ConfigureAwait(false);
        var held = await target.Load.UntilEmptyAsync(cancellationToken).ConfigureAwait(false);
        return (held, await clients.AskOnceMoreAsync(cancellationToken).ConfigureAwait(false));
    }

    private IEnumerable<FaultKind> KindsFor(ProcessConfig process)
    {
        if (process.IsNode)
        {
            yield return FaultKind.Kill;
            yield return FaultKind.Suspend;
            yield return FaultKind.DropConnections;
            yield return FaultKind.DelayConnections;
        }
        else if (process.Roles == ServeRoles.Conductor)
        {
            yield return FaultKind.Kill;
        }

        if (_disks.ContainsKey(process.Name))
        {
            yield return FaultKind.FillDisk;
        }
    }

    /// <summary>Gives the conductor a process of its own, so that it can be killed while streams run.</summary>
    private static IEnumerable<ProcessConfig> WithConductor(ClusterConfig config)
    {
        if (config.Processes.Any(process => process.Roles.HasFlag(ServeRoles.Conductor)))
        {
            return config.Processes;
        }

        var port = config.Processes.Max(process => process.Port) + 2;
        return config.Processes.Prepend(
            new ProcessConfig(ConductorName, ServeRoles.Conductor, port, config.Gateway.Settings));
    }

    private async Task<ProcessConfig> PrepareAsync(
        ProcessConfig process, ClusterPlace place, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (!process.IsNode)
        {
            return process;
        }

        List<GivenValue> settings =
        [
            .. process.Settings,
            Setting("fault.corrupt_frame_one_in", FramesPerCorruptOne.ToString(CultureInfo.InvariantCulture)),
        ];
        if ((process.Roles & (ServeRoles.Prefill | ServeRoles.Store)) != 0)
        {
            var folder = Path.Combine(place.Folder, process.Name, "disk");
            var (disk, reason) = await SmallDisk.MountAsync(folder, DiskBytes).ConfigureAwait(false);
            settings.Add(Setting("store.directory", Path.Combine(folder, "store")));

            // Half of the disk: it is full when it is filled, not because the store grew.
            settings.Add(Setting("store.disk_bytes", ByteSize.Format(DiskBytes / 2)));
            settings.Add(Setting("store.segment_bytes", ByteSize.Format(DiskSegmentBytes)));
            settings.Add(Setting("store.memory_bytes", ByteSize.Format(DiskBytes / 2)));
            if (disk is null)
            {
                _notPossible.Add($"a full disk at {process.Name}: {reason}");
            }
            else
            {
                _disks.Add(process.Name, disk);
            }
        }

        return process with { Settings = settings };
    }

    private static GivenValue Setting(string name, string text) => new(name, text, "chaos");

    private Uri Advertise(ProcessConfig process, Uri address)
    {
        var proxy = new LossyProxy(address);
        _proxies.Add(process.Name, proxy);
        return proxy.Address;
    }

    private async Task DoAsync(Fault fault, CancellationToken cancellationToken)
    {
        await Task.Delay(TimeSpan.FromSeconds(fault.AtS), cancellationToken).ConfigureAwait(false);
        _terminal.Remark(Describe(fault));
        var process = Cluster.Processes.Single(process => process.Config.Name == fault.Process);
        var duration = TimeSpan.FromSeconds(fault.DurationS);
        switch (fault.Kind)
        {
            case FaultKind.Kill:
                if (process.Exited.IsCompleted)
                {
                    _died.Enqueue(await DescribeEndAsync(process).ConfigureAwait(false));
                }

                await process.KillAsync().ConfigureAwait(false);
                await Task.Delay(duration, cancellationToken).ConfigureAwait(false);
                process.Start();
                break;
            case FaultKind.Suspend:
                await AroundAsync(process.Suspend, process.Resume, duration, cancellationToken).ConfigureAwait(false);
                break;
            case FaultKind.DropConnections:
                var dropping = _proxies[fault.Process];
                await AroundAsync(dropping.Refuse, dropping.Accept, duration, cancellationToken)
                    .ConfigureAwait(false);
                break;
            case FaultKind.DelayConnections:
                var slow = _proxies[fault.Process];
                await AroundAsync(
                    () => slow.DelayMs = fault.DelayMs, () => slow.DelayMs = 0, duration, cancellationToken)
                    .ConfigureAwait(false);
                break;
            default:
                var disk = _disks[fault.Process];
                await disk.FillAsync().ConfigureAwait(false);
                await AroundAsync(() => { }, disk.Free, duration, cancellationToken).ConfigureAwait(false);
                break;
        }
    }

    private static async Task AroundAsync(
        Action begin, Action end, TimeSpan duration, CancellationToken cancellationToken)
    {
        begin();
        try
        {
            await Task.Delay(duration, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            end();
        }
    }

    private static async Task<string> DescribeEndAsync(ClusterProcess process) =>
        $"{process.Config.Name} ended with exit code {await process.Exited.ConfigureAwait(false)}:\n{process.Tail()}";

    public static string Describe(Fault fault) => string.Create(
        CultureInfo.InvariantCulture,
        $"{fault.AtS,7:0.000} s  {fault.Process,-12} {fault.Kind} for {fault.DurationS:0.000} s" +
        $"{(fault.DelayMs > 0 ? $", {fault.DelayMs} ms late" : "")}");
}
