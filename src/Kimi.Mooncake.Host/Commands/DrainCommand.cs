using System.CommandLine;
using Kimi.Mooncake.Host.Output;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake drain</c>: gives a node no more work, and waits until it may be stopped.</summary>
internal static class DrainCommand
{
    public static Command Create(Terminal terminal)
    {
        var node = new Argument<string>("NODE") { Description = "Name of the node; `mooncake top` lists them." };
        var conductor = new ConductorOption();
        var json = JsonOption.Create();
        var command = new Command("drain", "Gives a node no more work, and waits until it is safe to stop it.")
        {
            node, json,
        };
        conductor.AddTo(command);
        MooncakeCommand.SetAction(command, terminal, async (parsed, cancellationToken) =>
        {
            var name = parsed.GetValue(node)!;
            var last = await conductor.CallAsync(
                parsed, client => DrainAsync(client, name, terminal, cancellationToken), cancellationToken)
                .ConfigureAwait(false);
            if (parsed.GetValue(json))
            {
                terminal.WriteJson(new { Node = name, last.Drained, last.Lost, last.RequestsLeft });
            }
            else
            {
                terminal.Output.WriteLine(last.Lost
                    ? $"{name} is gone; there is nothing left to stop"
                    : $"{name} is drained; it is safe to stop it");
            }
        });
        return command;
    }

    /// <summary>Drains a node, telling each time that less is left.</summary>
    /// <exception cref="CommandException">The conductor ended before the node was drained.</exception>
    public static async Task<Wire.DrainEvent> DrainAsync(
        Wire.Conductor.ConductorClient client, string node, Terminal terminal, CancellationToken cancellationToken)
    {
        using var call = client.Drain(new Wire.DrainRequest { NodeId = node }, cancellationToken: cancellationToken);
        uint? left = null;
        while (await call.ResponseStream.MoveNext(cancellationToken).ConfigureAwait(false))
        {
            var now = call.ResponseStream.Current;
            if (now.Drained || now.Lost)
            {
                return now;
            }

            if (left != now.RequestsLeft)
            {
                left = now.RequestsLeft;
                terminal.Remark($"{node}: {left} requests left");
            }
        }

        throw new CommandException($"{node}: the conductor ended before the node was drained; ask again");
    }
}
