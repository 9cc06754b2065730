using System.CommandLine;
using System.CommandLine.Invocation;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>The command line as a whole: its commands, and what an error becomes.</summary>
internal static class MooncakeCommand
{
    // After an interrupt a command has this long to end by itself; open answers of a server end within it.
    private static readonly TimeSpan StopTimeMax = TimeSpan.FromSeconds(60);

    public static async Task<int> RunAsync(string[] arguments, Terminal terminal, CancellationToken cancellationToken)
    {
        var root = new RootCommand("Kimi.Mooncake: serves long documents from a store of KV blocks.")
        {
            ServeCommand.Create(terminal),
            AskCommand.Create(terminal),
            ModelCommand.Create(terminal),
            TokenizeCommand.Create(terminal),
            DetokenizeCommand.Create(terminal),
            ChatCommand.Create(terminal),
            StoreCommand.Create(terminal),
            ConfigCommand.Create(terminal),
            TestAuthorityCommand.Create(terminal),
            BenchCommand.Create(terminal),
            ChaosCommand.Create(terminal),
            ClusterCommand.Create(terminal),
            DrainCommand.Create(terminal),
            TenantCommand.Create(terminal),
            TopCommand.Create(terminal),
        };
        var parsed = root.Parse(arguments);
        if (parsed.Action is ParseErrorAction)
        {
            foreach (var fault in parsed.Errors)
            {
                terminal.Remark($"error: {fault.Message}");
            }

            terminal.Remark("`mooncake --help` and `mooncake COMMAND --help` say what is accepted");
            return ExitCode.Usage;
        }

        var configuration = new InvocationConfiguration
        {
            EnableDefaultExceptionHandler = false,
            ProcessTerminationTimeout = StopTimeMax,
            Output = terminal.Output,
        };
        return await parsed.InvokeAsync(configuration, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Makes a command's errors into one line on standard error and an exit code.</summary>
    public static void SetAction(Command command, Terminal terminal, Func<ParseResult, CancellationToken, Task> run) =>
        command.SetAction((parsed, cancellationToken) => GuardAsync(terminal, () => run(parsed, cancellationToken)));

    private static async Task<int> GuardAsync(Terminal terminal, Func<Task> run)
    {
        // Signals are handled only once the command has given way: until then an interrupt would kill the process.
        await Task.Yield();
        try
        {
            await run().ConfigureAwait(false);
            return ExitCode.Ok;
        }
        catch (CommandException fault)
        {
            terminal.Remark($"error: {fault.Message}");
            return fault.ExitCode;
        }
        catch (Exception fault) when (fault is SettingException or PlatformNotSupportedException)
        {
            terminal.Remark($"error: {fault.Message}");
            return ExitCode.Usage;
        }
        catch (OperationCanceledException)
        {
            terminal.Remark("cancelled");
            return ExitCode.Failed;
        }
        catch (Exception fault) when (fault is ServerException or IOException or UnauthorizedAccessException)
        {
            terminal.Remark($"error: {fault.Message}");
            return ExitCode.Failed;
        }
    }
}
