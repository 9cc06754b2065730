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
            if (settings.Bind<ModelOptions>().Path.Length == 0)
            {
                throw new CommandException(
                    "no model: give --model FILE; `mooncake model build` writes the built-in one", ExitCode.Usage);
            }

            var serve = settings.Bind<ServeOptions>();
            if (serve.StopAtEndOfInput)
            {
                UnixSignal.LeaveTerminal();
            }

            using var loggers = settings.Bind<LoggingOptions>().CreateFactory();
            var server = await MooncakeServer.StartAsync(settings, loggers, cancellationToken).ConfigureAwait(false);
            await using var owned = server.ConfigureAwait(false);
            Announce(terminal, server, serve.Role, parsed.GetValue(json));
            await WaitForStopAsync(serve.StopAtEndOfInput, cancellationToken)
                .ConfigureAwait(false);
            terminal.Remark("stopping");
        });
        return command;
    }

    private static void Announce(Terminal terminal, MooncakeServer server, ServeRoles role, bool isJson)
    {
        var address = server.Address.AbsoluteUri.TrimEnd('/');
        if (isJson)
        {
            terminal.WriteJson(new { Address = address, Model = server.Model.ModelId, server.Model.Fingerprint });
            terminal.Output.Flush();
            return;
        }

        if ((role & (ServeRoles.All | ServeRoles.Gateway)) == 0)
        {
            terminal.Output.WriteLine($"""
                {server.Model.ModelId} is served to gateways at {address}
                A gateway for it:
                  scripts/mooncake serve --role gateway --worker {address} --model FILE
                """);
            terminal.Output.Flush();
            return;
        }

        var question = JsonSerializer.Serialize(new
        {
            model = server.Model.ModelId,
            messages = new[] { new { role = "user", content = ExampleContent } },
        });
        terminal.Output.WriteLine($"""
            {server.Model.ModelId} is served at {address}
            Try:
              curl {address}/v1/chat/completions -H 'Content-Type: application/json' -d '{question}'
              scripts/mooncake ask {ExampleFile} "{ExampleQuestion}" --server {address}
            """);
        terminal.Output.Flush();
    }

    /// <summary>Returns when the process is interrupted, which is how serving ends well.</summary>
    private static async Task WaitForStopAsync(bool atEndOfInput, CancellationToken cancellationToken)
    {
        var stopped = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var registration = cancellationToken.Register(() => stopped.TrySetResult());
        var ended = atEndOfInput ? WaitForEndOfInputAsync() : Task.Delay(Timeout.Infinite, cancellationToken);
        await Task.WhenAny(stopped.Task, ended).ConfigureAwait(false);
    }

    private static async Task WaitForEndOfInputAsync()
    {
        using var input = Console.OpenStandardInput();
        await input.CopyToAsync(Stream.Null).ConfigureAwait(false);
    }
}
