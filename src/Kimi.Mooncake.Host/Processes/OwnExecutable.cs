using System.Diagnostics;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Processes;

/// <summary>This program, to be started once more.</summary>
internal static class OwnExecutable
{
    /// <summary>A start with all three streams redirected.</summary>
    /// <param name="arguments">The command line of <c>mooncake</c>.</param>
    /// <param name="before">A command that runs it, such as <c>prlimit --fsize=1000</c>; empty for none.</param>
    public static ProcessStartInfo StartInfo(IEnumerable<string> arguments, IReadOnlyList<string>? before = null)
    {
        var path = Environment.ProcessPath
            ?? throw new CommandException("this process does not know its own executable, so it cannot start another");
        List<string> line = [.. before ?? [], path];

        // Started as `dotnet mooncake.dll` the process is dotnet, and the assembly its first argument.
        if (Path.GetFileNameWithoutExtension(path) == "dotnet")
        {
            line.Add(typeof(OwnExecutable).Assembly.Location);
        }

        line.AddRange(arguments);
        return new ProcessStartInfo(line[0], line.Skip(1))
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
            RedirectStandardInput = true,
        };
    }
}
