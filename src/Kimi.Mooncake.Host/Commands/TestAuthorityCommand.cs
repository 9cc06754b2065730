using System.CommandLine;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Transfer;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake test-authority</c>: certificates for trying TLS out.</summary>
internal static class TestAuthorityCommand
{
    private const int DaysMax = 3650;

    // A clock that is a little behind accepts what was just made.
    private static readonly TimeSpan ClockDifferenceMax = TimeSpan.FromHours(1);

    public static Command Create(Terminal terminal)
    {
        var folder = new Argument<DirectoryInfo>("FOLDER") { Description = "Where to write; made if it is not there." };
        var hosts = new Option<string[]>("--host")
        {
            Description = "Name or IP address of a node; localhost, 127.0.0.1 and ::1 always are. May be repeated.",
            HelpName = "HOST",
            DefaultValueFactory = _ => [],
        };
        var days = new Option<int>("--days")
        {
            Description = $"How long the certificates count, 1 to {DaysMax}.",
            HelpName = "N",
            DefaultValueFactory = _ => 30,
        };
        var command = new Command("test-authority", "Writes a certificate authority for tests, and what it signs.")
        {
            folder, hosts, days,
        };
        MooncakeCommand.SetAction(command, terminal, (parsed, _) =>
        {
            var root = parsed.GetValue(folder)!.FullName;
            var count = parsed.GetValue(days);
            if (count is < 1 or > DaysMax)
            {
                throw new CommandException($"--days {count}: expected 1 to {DaysMax}", ExitCode.Usage);
            }

            var from = TimeProvider.System.GetUtcNow() - ClockDifferenceMax;
            TestAuthority.Write(root, parsed.GetValue(hosts) ?? [], from, TimeSpan.FromDays(count));
            terminal.Output.WriteLine($"""
                {root}: an authority, and certificates that it signed for {count} days
                  mooncake serve --tls {Path.Combine(root, "node")} ...
                  for clients that are no nodes: {Path.Combine(root, "client")}
                Its key ca.key lies beside it: for tests only.
                """);
            return Task.CompletedTask;
        });
        return command;
    }
}
