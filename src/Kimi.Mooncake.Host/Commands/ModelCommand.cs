using System.CommandLine;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake model</c>: builds the built-in model's file, and describes model files.</summary>
internal static class ModelCommand
{
    public static Command Create(Terminal terminal)
    {
        var command = new Command("model", "Builds and describes model files.")
        {
        };
        _ = terminal;
        return command;
    }
}
