using System.CommandLine;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake cluster</c>: clusters of processes on this machine.</summary>
internal static class ClusterCommand
{
    public static Command Create(Terminal terminal) => new("cluster", "Runs a cluster of processes on this machine.")
    {
        ClusterRunCommand.Create(terminal),
    };
}
