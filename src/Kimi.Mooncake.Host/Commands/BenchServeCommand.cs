using System.CommandLine;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Serving;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake bench serve</c>: conversations about shared documents with a running server or cluster.</summary>
internal static class BenchServeCommand
{
    private const string InProcess = "in-process";

    public static Command Create(Terminal terminal)
    {
        var plan = new ServePlanOptions();
        var target = new ServeTargetOptions();
        var compare = new Option<string?>("--compare")
        {
            Description = $"Holds the same conversations with another server, or with a single process of its own " +
                $"({InProcess}), and compares the answers byte for byte.",
            HelpName = $"URL|{InProcess}",
        };
        var server = new BenchServerOptions();
        var json = JsonOption.Create();
        var command = new Command(
            "serve", "Holds conversations with a running server or cluster, and judges every answer.")
        {
            compare, json,
        };
        plan.AddTo(command);
        target.AddTo(command);
        server.AddTo(command);
        MooncakeCommand.SetAction(command, terminal, async (parsed, cancellationToken) =>
        {
            var wanted = plan.Read(parsed);
            using var served = target.Open(parsed);
            var bench = new ServeBench(wanted, served.Gateway, served.Load, terminal);
            var report = await bench.RunAsync(cancellationToken).ConfigureAwait(false);
            if (parsed.GetValue(compare) is { } other)
            {
                report = report with
                {
                    Comparison = await CompareAsync(bench, wanted, other, cancellationToken).ConfigureAwait(false),
                };
            }

            Print(report, parsed.GetValue(json));

            async Task<ServeComparison> CompareAsync(
                ServeBench first, ServePlan same, string address, CancellationToken cancellation)
            {
                if (address != InProcess)
                {
                    using var client = new CompletionClient(ServeTargetOptions.Address("--compare", address));
                    return await AgainAsync(first, same, client, cancellation).ConfigureAwait(false);
                }

                using var folder = new TemporaryFolder();
                var child = await ChildServer.StartAsync(server.Prepare(parsed, folder).Arguments, cancellation)
                    .ConfigureAwait(false);
                await using var owned = child.ConfigureAwait(false);
                return await AgainAsync(first, same, child.Client, cancellation).ConfigureAwait(false);
            }
        });
        return command;

        async Task<ServeComparison> AgainAsync(
            ServeBench first, ServePlan same, CompletionClient client, CancellationToken cancellation)
        {
            terminal.Remark($"the same conversations with {client.Address}");
            var second = new ServeBench(same, client, new ClusterLoad([client]), terminal);
            return first.Compare(second, await second.RunAsync(cancellation).ConfigureAwait(false));
        }

        void Print(ServeReport report, bool isJson)
        {
            if (isJson)
            {
                terminal.WriteJson(report);
            }
            else
            {
                ServeSummary.Write(terminal, report);
            }

            if (!report.IsGood)
            {
                throw new CommandException("the conversations found faults");
            }
        }
    }
}
