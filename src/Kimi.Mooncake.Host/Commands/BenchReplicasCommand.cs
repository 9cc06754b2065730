using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Processes;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake bench replicas</c>: a store node is killed while many ask about the same documents.</summary>
internal sealed class BenchReplicasCommand
{
    private const string Config = "1w6s.json";

    private readonly Terminal _terminal;
    private readonly ClusterOptions _cluster = new();
    private readonly Option<bool> _json = JsonOption.Create();
    private readonly Option<FileInfo> _config = ClusterOptions.ConfigOption(Config);

    private readonly IntOption _documents =
        new("--documents", "Documents that are asked about.", defaultValue: 10, min: 1, max: 4096);

    private readonly IntOption _tokens = new(
        "--document-tokens", "Tokens of each document.", defaultValue: 4096, NeedleDocument.BytesMin, 1 << 20);

    private readonly IntOption _rate = new(
        "--requests-per-minute", "Requests per minute, evenly.", defaultValue: 120, min: 1, max: 600_000);

    private readonly IntOption _warm = new(
        "--warm-seconds", "Seconds before the measurement, in which documents become hot.", defaultValue: 30, 1, 3600);

    private readonly IntOption _before = new(
        "--before-seconds", "Seconds that are measured before a store node is killed.", defaultValue: 15, 2, 3600);

    private readonly IntOption _after = new(
        "--after-seconds", "Seconds that are measured afterwards.", defaultValue: 45, 5, 3600);

    private readonly IntOption _limit = new(
        "--request-seconds-max", "Longest time of one request; then it counts as stuck.", defaultValue: 60, 1, 86_400);

    private readonly IntOption _seed = new(
        "--seed", "Makes documents and questions, and says which store node is killed when.", defaultValue: 1, min: 0,
        max: int.MaxValue);

    private BenchReplicasCommand(Terminal terminal) => _terminal = terminal;

    public static Command Create(Terminal terminal)
    {
        var bench = new BenchReplicasCommand(terminal);
        var command = new Command(
            "replicas", "Kills a store node of a cluster of its own while many ask about the same documents.")
        {
            bench._config, bench._json,
        };
        foreach (var option in new[]
        {
            bench._documents, bench._tokens, bench._rate, bench._warm, bench._before, bench._after, bench._limit,
            bench._seed,
        })
        {
            command.Options.Add(option.Option);
        }

        bench._cluster.AddTo(command);
        MooncakeCommand.SetAction(command, terminal, bench.RunAsync);
        return command;
    }

    private async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        var plan = new ReplicaPlan
        {
            Documents = _documents.Read(parsed),
            DocumentTokens = _tokens.Read(parsed),
            RequestsPerSecond = _rate.Read(parsed) / 60.0,
            WarmSeconds = _warm.Read(parsed),
            BeforeSeconds = _before.Read(parsed),
            AfterSeconds = _after.Read(parsed),
            RequestSecondsMax = _limit.Read(parsed),
            Seed = _seed.Read(parsed),
        };
        var config = ClusterConfigReader.Read(parsed.GetValue(_config)!.FullName);
        var place = _cluster.Prepare(parsed);
        _terminal.Remark($"starting {config.Processes.Count} processes; logs in {place.Folder}");
        var cluster = await RunningCluster.StartAsync(config, place, cancellationToken).ConfigureAwait(false);
        await using var owned = cluster.ConfigureAwait(false);
        using var bench = new ReplicaBench(plan, cluster, _terminal);
        var report = await bench.RunAsync(cancellationToken).ConfigureAwait(false);
        if (parsed.GetValue(_json))
        {
            _terminal.WriteJson(report);
        }
        else
        {
            Write(report);
        }

        if (!report.IsGood)
        {
            throw new CommandException($"the loss of a store node was noticed; logs in {place.Folder}");
        }
    }

    private void Write(ReplicaReport report)
    {
        var output = _terminal.Output;
        foreach (var (rate, second) in report.HitRatePerSecond.Select(static (rate, second) => (rate, second)))
        {
            var mark = second == (int)report.LostAtS ? $"  {report.Lost} is killed" : "";
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{second,4} s {rate * 100,6:0.0} %{mark}"));
        }

        var recovered = report.RecoveredAfterS is { } seconds ? $"within 2 points after {seconds} s" : "not recovered";
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"hit rate {report.HitRateBefore * 100:0.0} % before, lowest {report.HitRateLowest * 100:0.0} %, " +
            $"{report.HitRateEnd * 100:0.0} % at the end; {recovered}"));
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"answered {report.Answered}: wrong {report.AnswersWrong}; failed {report.Failed}, stuck {report.Stuck}; " +
            $"TTFT p50 {report.TtftP50BeforeS:0.000} s before, {report.TtftP50AfterS:0.000} s after"));
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{report.Lost} kept {report.LostBlocks} blocks; {report.ReplicaOrders} orders copied " +
            $"{report.BlocksCopied} blocks, {report.Restorations} of them after the loss; " +
            $"{report.Failovers} times another replica was turned to, {report.Hedges} times asked as well"));
    }
}
