using System.CommandLine;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.StoreTools;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake store verify</c>: reads every block of a store on disk and checks it.</summary>
internal static class StoreVerifyCommand
{
    public static Command Create(Terminal terminal)
    {
        var command = new Command(
            "verify", "Reads and checks every block of a store on disk; a server may use it meanwhile.");
        _ = new StoreFolderCommand(command, terminal, (call, cancellationToken) =>
        {
            var stores = call.Folders.Select(folder => Verify(folder, terminal, cancellationToken)).ToList();
            if (call.AsJson)
            {
                terminal.WriteJson(new { Stores = stores });
            }
            else
            {
                Print(terminal, stores);
            }

            var bad = stores.Sum(static store => store.Bad.Count);
            return bad == 0 ? Task.CompletedTask : throw new CommandException($"{bad} blocks could not be read");
        });
        return command;
    }

    private static StoreVerified Verify(string folder, Terminal terminal, CancellationToken cancellationToken)
    {
        var reader = StoreReader.Open(folder);
        var progress = new ProgressLine<StoreVerification>(
            terminal,
            $"verify {Path.GetFileName(folder)}",
            state => ((state.Intact + state.Bad.Count) * reader.BlockBytes, state.Blocks * reader.BlockBytes));
        var found = reader.Verify(progress, cancellationToken);
        progress.End();
        return new StoreVerified(
            folder, found.Blocks, found.Intact, [.. found.Bad.Select(static key => key.ToString())],
            reader.Stat().DamagedEntries);
    }

    private static void Print(Terminal terminal, List<StoreVerified> stores)
    {
        foreach (var store in stores)
        {
            terminal.Output.WriteLine(
                $"{store.Folder}: {store.Intact} of {store.Blocks} blocks are intact, " +
                $"{store.DamagedEntries} damaged index entries");
            foreach (var key in store.Bad)
            {
                terminal.Output.WriteLine($"  bad: {key}");
            }
        }
    }

    /// <param name="Folder">Of the store.</param>
    /// <param name="Blocks">Blocks that its indexes name.</param>
    /// <param name="Intact">Blocks that are what was put.</param>
    /// <param name="Bad">Keys of the others; a server may have moved some meanwhile.</param>
    /// <param name="DamagedEntries">Index entries that name no block.</param>
    private sealed record StoreVerified(
        string Folder, long Blocks, long Intact, IReadOnlyList<string> Bad, long DamagedEntries);
}
