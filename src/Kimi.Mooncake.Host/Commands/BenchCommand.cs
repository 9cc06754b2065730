using System.CommandLine;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake bench</c>: every figure in the documents comes from one of these.</summary>
internal static class BenchCommand
{
    public static Command Create(Terminal terminal) => new("bench", "Measures, and prints what it found.")
    {
        BenchHandOverCommand.Create(terminal),
        BenchKernelsCommand.Create(terminal),
        BenchLoadCommand.Create(terminal),
        BenchLongDocumentCommand.Create(terminal),
        BenchMaskCommand.Create(terminal),
        BenchModelCommand.Create(terminal),
        BenchReplicasCommand.Create(terminal),
        BenchScaleCommand.Create(terminal),
        BenchServeCommand.Create(terminal),
        BenchSoakCommand.Create(terminal),
        BenchTenantsCommand.Create(terminal),
        BenchTransferCommand.Create(terminal),
    };
}
