using System.CommandLine;
using System.Runtime.InteropServices;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Models.Gguf;
using Kimi.Mooncake.Store;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake serve</c>: all roles in this process, until a signal ends it.</summary>
internal sealed class ServeCommand
{
    private readonly SettingOptions _settings = new();
    private readonly Option<bool> _json = JsonOption.Create();
    private readonly Terminal _terminal;

    private ServeCommand(Terminal terminal) => _terminal = terminal;

    public static Command Create(Terminal terminal)
    {
        var serve = new ServeCommand(terminal);
        var command = new Command("serve", "Serves a model over HTTP until it is interrupted.") { serve._json };
        serve._settings.AddTo(command);
        MooncakeCommand.SetAction(command, terminal, serve.RunAsync);
        return command;
    }

    private async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        var settings = _settings.Resolve(parsed, Environment.GetEnvironmentVariables());
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => End(context, ending));
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => End(context, ending));
        using var loggers = LoggerFactory.Create(static builder => builder.AddTerminal());
        try
        {
            await using var node = await Node
                .StartAsync(settings, TimeProvider.System, loggers, ending.Token).ConfigureAwait(false);
            Announce(node, parsed.GetValue(_json));
            await WaitForEndAsync(ending.Token).ConfigureAwait(false);
            _terminal.Remark("ending: open requests are cancelled, stored blocks are written");
        }
        catch (Exception fault) when (fault is ModelFileException or StoreException or ArgumentException)
        {
            throw new CommandException(fault.Message);
        }
    }

    private static void End(PosixSignalContext context, CancellationTokenSource ending)
    {
        context.Cancel = true;
        ending.Cancel();
    }

    private static async Task WaitForEndAsync(CancellationToken ending)
    {
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var registration = ending.Register(ended.SetResult);
        await ended.Task.ConfigureAwait(false);
    }

    private void Announce(Node node, bool isJson)
    {
        if (isJson)
        {
            _terminal.WriteJson(new { Address = node.Address.ToString(), Model = node.ModelId });
            return;
        }

        var address = node.Address.ToString().TrimEnd('/');
        _terminal.Output.WriteLine($"serving {node.ModelId} on {address}; try");
        _terminal.Output.WriteLine(
            $"  curl {address}/v1/chat/completions -H 'Content-Type: application/json' -d '{{\"model\":" +
            $"\"{node.ModelId}\",\"messages\":[{{\"role\":\"user\",\"content\":" +
            "\"The passcode of Aurora is 7319-KESTREL.\\nThe passcode of Aurora is\"}]}'");
        _terminal.Output.WriteLine(
            $"  scripts/mooncake ask README.md 'A long document is' --server {address}");
        _terminal.Output.Flush();
    }
}
