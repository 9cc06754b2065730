using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Serving;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake bench soak</c>: many clients, some leave; nothing may be wrong, stuck or held.</summary>
internal static class BenchSoakCommand
{
    private const int ClientsMax = 1024;

    public static Command Create(Terminal terminal)
    {
        var clients = new Option<int>("--clients")
        {
            Description = "Streaming requests at once.",
            HelpName = "N",
            DefaultValueFactory = _ => 64,
        };
        var requests = new Option<int>("--requests")
        {
            Description = "Requests in all.",
            HelpName = "N",
            DefaultValueFactory = _ => 2000,
        };
        var share = new Option<double>("--disconnect-share")
        {
            Description = "Share of the requests that their client breaks off, 0 to 1.",
            HelpName = "SHARE",
            DefaultValueFactory = _ => 0.33,
        };
        var seed = new Option<int>("--seed")
        {
            Description = "Makes documents, choices and moments of disconnection.",
            DefaultValueFactory = _ => 1,
        };
        var server = new BenchServerOptions();
        var json = JsonOption.Create();
        var command = new Command("soak", "Runs many streaming clients against a server of its own.")
        {
            clients, requests, share, seed, json,
        };
        server.AddTo(command);
        MooncakeCommand.SetAction(command, terminal, async (parsed, cancellationToken) =>
        {
            var plan = Check(new SoakPlan(
                parsed.GetValue(clients), parsed.GetValue(requests), parsed.GetValue(share), parsed.GetValue(seed)));
            using var folder = new TemporaryFolder();
            var child = await ChildServer.StartAsync(server.Prepare(parsed, folder).Arguments, cancellationToken)
                .ConfigureAwait(false);
            await using var owned = child.ConfigureAwait(false);
            var report = await new SoakBench(plan, child.Client, terminal)
                .RunAsync(child.PeakResidentBytes, cancellationToken)
                .ConfigureAwait(false);
            if (parsed.GetValue(json))
            {
                terminal.WriteJson(report);
            }
            else
            {
                Print(terminal, report);
            }

            if (!report.IsGood)
            {
                throw new CommandException("the soak found faults");
            }
        });
        return command;
    }

    private static SoakPlan Check(SoakPlan plan)
    {
        if (plan.Clients is < 1 or > ClientsMax)
        {
            throw new CommandException($"--clients {plan.Clients}: expected 1 to {ClientsMax}", ExitCode.Usage);
        }

        if (plan.Requests < 1)
        {
            throw new CommandException($"--requests {plan.Requests}: expected at least 1", ExitCode.Usage);
        }

        return plan.DisconnectShare is >= 0 and <= 1
            ? plan
            : throw new CommandException($"--disconnect-share {plan.DisconnectShare}: expected 0 to 1", ExitCode.Usage);
    }

    private static void Print(Terminal terminal, SoakReport report) => terminal.Output.WriteLine(string.Create(
        CultureInfo.InvariantCulture,
        $"""
        {report.Requests:N0} requests by {report.Clients} clients in {report.DurationS:0.0} s
        finished {report.Finished:N0}, disconnected {report.Disconnected:N0}
        right {report.AnswersRight:N0}, wrong {report.AnswersWrong}, failed {report.Failed}, stuck {report.Stuck}
        TTFT median {report.TtftP50S:0.000} s, 95th percentile {report.TtftP95S:0.000} s
        afterwards running {report.LoadAfterwards.Running}, waiting {report.LoadAfterwards.Waiting}, blocks held
        {report.LoadAfterwards.BlocksHeld} of {report.LoadAfterwards.BlocksTotal:N0}; pool empty: {report.PoolEmpty}
        peak memory {ByteSize.Approximate(report.PeakRssBytes)}
        """));
}
