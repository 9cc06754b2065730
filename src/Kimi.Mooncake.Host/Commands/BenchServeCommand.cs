using System.CommandLine;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Serving;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake bench serve</c>: conversations about documents with a running server or cluster.</summary>
internal sealed class BenchServeCommand
{
    private const string InProcess = "in-process";

    private readonly Terminal _terminal;
    private readonly ServePlanOptions _plan = new();
    private readonly ServeTargetOptions _target = new();
    private readonly BenchServerOptions _server = new();
    private readonly Option<bool> _json = JsonOption.Create();
    private readonly Option<string?> _compare = new("--compare")
    {
        Description = $"Holds the same conversations with another server, or with a single process of its own " +
            $"({InProcess}), and compares the answers byte for byte.",
        HelpName = $"URL|{InProcess}",
    };

    private BenchServeCommand(Terminal terminal) => _terminal = terminal;

    public static Command Create(Terminal terminal)
    {
        var bench = new BenchServeCommand(terminal);
        var command = new Command(
            "serve", "Holds conversations with a running server or cluster, and judges every answer.")
        {
            bench._compare, bench._json,
        };
        bench._plan.AddTo(command);
        bench._target.AddTo(command);
        bench._server.AddTo(command);
        MooncakeCommand.SetAction(command, terminal, bench.RunAsync);
        return command;
    }

    private async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        var plan = _plan.Read(parsed);
        using var target = _target.Open(parsed);
        var bench = new ServeBench(plan, target.Gateway, target.Load, _terminal);
        var report = await bench.RunAsync(cancellationToken).ConfigureAwait(false);
        if (parsed.GetValue(_compare) is { } other)
        {
            var comparison = other == InProcess
                ? await CompareInProcessAsync(bench, plan, parsed, cancellationToken).ConfigureAwait(false)
                : await CompareAsync(
                    bench, plan, ServeTargetOptions.Address(_compare.Name, other), cancellationToken)
                    .ConfigureAwait(false);
            report = report with { Comparison = comparison };
        }

        if (parsed.GetValue(_json))
        {
            _terminal.WriteJson(report);
        }
        else
        {
            ServeSummary.Write(_terminal, report);
        }

        if (!report.IsGood)
        {
            throw new CommandException("the conversations found faults");
        }
    }

    private async Task<ServeComparison> CompareInProcessAsync(
        ServeBench first, ServePlan plan, ParseResult parsed, CancellationToken cancellationToken)
    {
        using var folder = new TemporaryFolder();
        var child = await ChildServer.StartAsync(_server.Prepare(parsed, folder).Arguments, cancellationToken)
            .ConfigureAwait(false);
        await using var owned = child.ConfigureAwait(false);
        return await CompareAsync(first, plan, child.Client.Address, cancellationToken).ConfigureAwait(false);
    }

    private async Task<ServeComparison> CompareAsync(
        ServeBench first, ServePlan plan, Uri address, CancellationToken cancellationToken)
    {
        _terminal.Remark($"the same conversations with {address}");
        using var client = new CompletionClient(address, ApiKey.FromEnvironment());
        var second = new ServeBench(plan, client, new ClusterLoad([client]), _terminal);
        return first.Compare(second, await second.RunAsync(cancellationToken).ConfigureAwait(false));
    }
}
