using System.CommandLine;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake model</c>: what is done with model files.</summary>
internal static class ModelCommand
{
    public static Command Create(Terminal terminal) => new("model", "Builds and describes model files.")
    {
        ModelBuildCommand.Create(terminal),
        ModelInfoCommand.Create(terminal),
    };
}
