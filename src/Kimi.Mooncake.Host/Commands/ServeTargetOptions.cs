using System.CommandLine;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>The running server or cluster that a benchmark uses.</summary>
internal sealed class ServeTargetOptions
{
    private const string ServerDefault = "http://127.0.0.1:8080";

    private readonly Option<string> _server = new("--server")
    {
        Description = $"Address of the gateway; {ServerDefault} when missing.",
        HelpName = "URL",
        DefaultValueFactory = _ => ServerDefault,
    };

    private readonly Option<string[]> _metrics = new("--metrics")
    {
        Description = "Address at which a worker gives its own /health and /metrics; may be repeated. Without it the " +
            "gateway is a process that computes itself.",
        HelpName = "URL",
        DefaultValueFactory = _ => [],
    };

    public void AddTo(Command command)
    {
        command.Options.Add(_server);
        command.Options.Add(_metrics);
    }

    /// <summary>Makes the clients; nothing is sent yet.</summary>
    /// <exception cref="CommandException">An address is none.</exception>
    public ServeTarget Open(ParseResult parsed) => new(
        Address(_server.Name, parsed.GetValue(_server)!),
        [.. (parsed.GetValue(_metrics) ?? []).Select(address => Address(_metrics.Name, address))]);

    /// <exception cref="CommandException">The text is no HTTP address.</exception>
    public static Uri Address(string option, string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var address) && address.Scheme is "http" or "https"
            ? address
            : throw new CommandException(
                $"{option} {text}: expected an address such as {ServerDefault}", ExitCode.Usage);
}
