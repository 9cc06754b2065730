using System.CommandLine;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake store</c>: looks into stores of KV blocks, measures them and plans their size.</summary>
internal static class StoreCommand
{
    public static Command Create(Terminal terminal) =>
        new("store", "Looks into stores of KV blocks, measures them and plans their size.")
        {
            StoreStatCommand.Create(terminal),
            StoreListCommand.Create(terminal),
            StoreGetCommand.Create(terminal),
            StoreVerifyCommand.Create(terminal),
            StoreCompactCommand.Create(terminal),
            StorePlanCommand.Create(terminal),
            StoreCrashCommand.Create(terminal),
            StoreBenchCommand.Create(terminal),
        };
}
