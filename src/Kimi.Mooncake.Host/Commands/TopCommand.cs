using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Host.Output;
using Spectre.Console;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake top</c>: the nodes of a cluster and their load, over and over.</summary>
internal static class TopCommand
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan AnswerTimeMax = TimeSpan.FromSeconds(5);

    public static Command Create(Terminal terminal)
    {
        var once = new Option<bool>("--once") { Description = "Prints the table once and ends." };
        var conductor = new ConductorOption();
        var json = JsonOption.Create();
        var command = new Command("top", "Shows the nodes of a cluster and their load.") { once, json };
        conductor.AddTo(command);
        MooncakeCommand.SetAction(command, terminal, async (parsed, cancellationToken) =>
        {
            Task<NodesReport> ListAsync() => conductor.CallAsync(
                parsed, client => TopCommand.ListAsync(client, cancellationToken), cancellationToken);

            if (parsed.GetValue(json))
            {
                terminal.WriteJson(await ListAsync().ConfigureAwait(false));
            }
            else if (parsed.GetValue(once) || !terminal.IsInteractive)
            {
                terminal.WriteTable(Table(await ListAsync().ConfigureAwait(false)));
            }
            else
            {
                await ShowAsync(ListAsync, cancellationToken).ConfigureAwait(false);
            }
        });
        return command;
    }

    /// <summary>Draws the table over itself until the interrupt, which is how watching ends well.</summary>
    private static async Task ShowAsync(Func<Task<NodesReport>> list, CancellationToken cancellationToken)
    {
        var first = await list().ConfigureAwait(false);
        await AnsiConsole.Live(Table(first)).AutoClear(true).StartAsync(async live =>
        {
            try
            {
                while (true)
                {
                    await Task.Delay(Interval, cancellationToken).ConfigureAwait(false);
                    live.UpdateTarget(Table(await list().ConfigureAwait(false)));
                }
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                live.Refresh();
            }
        }).ConfigureAwait(false);
    }

    /// <summary>The nodes as the conductor knows them.</summary>
    public static async Task<NodesReport> ListAsync(
        Wire.Conductor.ConductorClient client, CancellationToken cancellationToken) =>
        NodesReport.Of(await client.ListNodesAsync(
            new Wire.ListNodesRequest(), deadline: TimeProvider.System.GetUtcNow().UtcDateTime + AnswerTimeMax,
            cancellationToken: cancellationToken));

    private static Table Table(NodesReport report)
    {
        var table = new Table().Border(TableBorder.Simple)
            .Title(string.Create(
                CultureInfo.InvariantCulture, $"{report.Routed} requests routed, {report.Waiting} waiting to be"))
            .AddColumns(
                "node", "role", "health", "running", "waiting", "routed", "pool held", "pool cached", "blocks",
                "queued tokens",
                "prefill tok/s", "decode step", "silent", "address");
        foreach (var node in report.Nodes)
        {
            table.AddRow(
                Markup.Escape(node.Node), node.Role, Health(node), $"{node.Running}", $"{node.Waiting}",
                $"{node.Routed}", Share(node.BlocksHeld, node.BlocksTotal), Share(node.BlocksCached, node.BlocksTotal),
                $"{node.IndexedBlocks}", $"{node.QueuedPrefillTokens}",
                node.PrefillTokensPerS.ToString("N0", CultureInfo.InvariantCulture),
                string.Create(CultureInfo.InvariantCulture, $"{node.DecodeStepMs:0.0} ms"),
                string.Create(CultureInfo.InvariantCulture, $"{node.SilentMs / 1000.0:0.0} s"),
                Markup.Escape(node.Address));
        }

        return table;
    }

    private static string Health(NodeReport node) => node.Health switch
    {
        "ready" => "[green]ready[/]",
        "draining" => "[yellow]draining[/]",
        _ => node.NotReadyReason.Length == 0
            ? $"[red]{node.Health}[/]"
            : $"[red]{node.Health}: {Markup.Escape(node.NotReadyReason)}[/]",
    };

    private static string Share(uint part, uint whole) => whole == 0
        ? "-"
        : string.Create(CultureInfo.InvariantCulture, $"{100.0 * part / whole:0} %");
}
