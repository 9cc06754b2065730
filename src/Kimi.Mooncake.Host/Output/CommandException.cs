namespace Kimi.Mooncake.Host.Output;

/// <summary>Ends a command with a message for the user and an exit code, without a stack trace.</summary>
internal sealed class CommandException(string message, int exitCode = ExitCode.Failed) : Exception(message)
{
    public int ExitCode { get; } = exitCode;
}
