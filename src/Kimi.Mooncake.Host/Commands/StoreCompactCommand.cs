using System.CommandLine;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.StoreTools;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake store compact</c>: gives back the room of blocks that are gone.</summary>
internal static class StoreCompactCommand
{
    public static Command Create(Terminal terminal)
    {
        var command = new Command(
            "compact", "Gives back the room of blocks that are gone; no server may use the store meanwhile.");
        _ = new StoreFolderCommand(command, terminal, async (call, cancellationToken) =>
        {
            var stores = new List<StoreCompacted>();
            foreach (var folder in call.Folders)
            {
                stores.Add(await CompactAsync(
                    call.Options with { Directory = folder }, terminal, cancellationToken).ConfigureAwait(false));
            }

            if (call.AsJson)
            {
                terminal.WriteJson(new { Stores = stores });
                return;
            }

            foreach (var store in stores)
            {
                terminal.Output.WriteLine(
                    $"{store.Folder}: {ByteSize.Approximate(store.BytesBefore)} before, " +
                    $"{ByteSize.Approximate(store.BytesAfter)} after; {store.Segments} segments moved together, " +
                    $"{store.Blocks} blocks");
            }
        });
        return command;
    }

    private static async Task<StoreCompacted> CompactAsync(
        KvBlockStoreOptions options, Terminal terminal, CancellationToken cancellationToken)
    {
        var store = StoreFolders.OpenAsItIs(options);
        await using (store.ConfigureAwait(false))
        {
            var before = store.Statistics().DiskBytes;
            // What is alive is known once the scan is done, which the compaction waits for.
            var progress = new ProgressLine<StoreCompaction>(
                terminal,
                $"compact {Path.GetFileName(options.Directory)}",
                state => (
                    state.BytesBefore - state.BytesNow,
                    Math.Max(state.BytesBefore - store.Statistics().LiveBytes, state.BytesBefore - state.BytesNow)));
            var done = await store.CompactAsync(progress, cancellationToken).ConfigureAwait(false);
            progress.End();
            var statistics = store.Statistics();
            return new StoreCompacted(
                options.Directory, done.Segments, Math.Max(before, done.BytesBefore), statistics.DiskBytes,
                statistics.LiveBytes, statistics.Blocks);
        }
    }

    /// <param name="Folder">Of the store.</param>
    /// <param name="Segments">Segment files whose blocks were moved.</param>
    /// <param name="BytesBefore">Bytes of its files before.</param>
    /// <param name="BytesAfter">Bytes of its files after.</param>
    /// <param name="LiveBytes">Of these, bytes of blocks that can be found.</param>
    /// <param name="Blocks">These blocks.</param>
    private sealed record StoreCompacted(
        string Folder, int Segments, long BytesBefore, long BytesAfter, long LiveBytes, long Blocks);
}
