using System.CommandLine;
using System.Text.Json;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Processes;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Worker;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake serve</c>: serves a model, or has a part in it, until it is told to stop.</summary>
internal static class ServeCommand
{
    private const string ExampleContent =
        "The passcode of Aurora is 7319-KESTREL.\nComplete this sentence:\nThe passcode of Aurora is";

    // The beginning of a sentence that stands in this file of the repository.
    private const string ExampleFile = "src/README.md";
    private const string ExampleQuestion = "A long document costs";

    public static Command Create(Terminal terminal)
    {
        var options = new SettingOptions();
        var json = JsonOption.Create();
        var command = new Command("serve", "Serves a model until it is interrupted.") { json };
        options.AddTo(command);
        MooncakeCommand.SetAction(command, terminal, async (parsed, cancellationToken) =>
        {
            var settings = options.Resolve(parsed, Environment.GetEnvironmentVariables());
            var serve = settings.Bind<ServeOptions>();
            serve.Check();
            if (settings.Bind<ModelOptions>().Path.Length == 0 && serve.Role != ServeRoles.Conductor)
            {
                throw new CommandException(
                    "no model: give --model FILE; `mooncake model build` writes the built-in one", ExitCode.Usage);
            }

            if (serve.StopAtEndOfInput)
            {
                UnixSignal.LeaveTerminal();
            }

            using var loggers = settings.Bind<LoggingOptions>().CreateFactory();
            var server = await MooncakeServer.StartAsync(settings, loggers, cancellationToken).ConfigureAwait(false);
            await using var owned = server.ConfigureAwait(false);
            Announce(terminal, server.Process, serve, parsed.GetValue(json));
            await WaitForEndAsync(server.Process.Refused, serve.StopAtEndOfInput, cancellationToken)
                .ConfigureAwait(false);
            terminal.Remark("stopping");
        });
        return command;
    }

    private static void Announce(Terminal terminal, ServedProcess process, ServeOptions serve, bool isJson)
    {
        var address = Text(process.Address);
        if (isJson)
        {
            terminal.WriteJson(new
            {
                Address = address,
                Rpc = process.Rpc is { } rpc ? Text(rpc) : null,
                Model = process.ModelId,
                process.Fingerprint,
            });
            terminal.Output.Flush();
            return;
        }

        if ((serve.Role & (ServeRoles.All | ServeRoles.Gateway)) == 0)
        {
            terminal.Output.WriteLine(serve.IsNode
                ? $"{process.ModelId} is served to the cluster at {address}"
                : $"nodes and gateways reach the conductor at {address}");
            terminal.Output.Flush();
            return;
        }

        var question = JsonSerializer.Serialize(new
        {
            model = process.ModelId,
            messages = new[] { new { role = "user", content = ExampleContent } },
        });
        terminal.Output.WriteLine($"""
            {process.ModelId} is served at {address}
            Try:
              curl {address}/v1/chat/completions -H 'Content-Type: application/json' -d '{question}'
              scripts/mooncake ask {ExampleFile} "{ExampleQuestion}" --server {address}
            """);
        if (process.Rpc is { } conductor && serve.HasConductor)
        {
            terminal.Output.WriteLine($"""
                A worker for it:
                  scripts/mooncake serve --role prefill,decode --conductor {Text(conductor)} --rpc-port 0 --model FILE
                """);
        }

        terminal.Output.Flush();
    }

    private static string Text(Uri address) => address.AbsoluteUri.TrimEnd('/');

    /// <summary>Returns when the process is told to stop, which is how serving ends well.</summary>
    /// <exception cref="CommandException">The conductor refused the node.</exception>
    private static async Task WaitForEndAsync(
        Task<string> refused, bool atEndOfInput, CancellationToken cancellationToken)
    {
        var stopped = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var registration = cancellationToken.Register(() => stopped.TrySetResult());
        var ended = atEndOfInput ? WaitForEndOfInputAsync() : new TaskCompletionSource().Task;
        if (await Task.WhenAny(stopped.Task, ended, refused).ConfigureAwait(false) == refused)
        {
            throw new CommandException(
                $"the conductor refused this node: {await refused.ConfigureAwait(false)} " +
                "(serve.retry_when_refused=true goes on asking)");
        }
    }

    private static async Task WaitForEndOfInputAsync()
    {
        using var input = Console.OpenStandardInput();
        await input.CopyToAsync(Stream.Null).ConfigureAwait(false);
    }
}
