using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Store;
using Spectre.Console;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake store stat</c>: what a store's folder holds, also while a server uses it.</summary>
internal static class StoreStatCommand
{
    public static Command Create(Terminal terminal)
    {
        var command = new Command("stat", "Says what a store on disk holds; a server may use it meanwhile.");
        _ = new StoreFolderCommand(command, terminal, (call, _) =>
        {
            var stores = call.Folders
                .Select(static folder => (Folder: folder, Contents: StoreReader.Open(folder).Stat())).ToList();
            if (call.AsJson)
            {
                terminal.WriteJson(new
                {
                    Stores = stores.Select(static store => Describe(store.Folder, store.Contents)),
                });
                return Task.CompletedTask;
            }

            foreach (var (folder, contents) in stores)
            {
                Print(terminal, folder, contents);
            }

            return Task.CompletedTask;
        });
        return command;
    }

    private static object Describe(string folder, StoreContents contents) => new
    {
        Folder = folder,
        contents.FormatVersion,
        contents.Layout,
        contents.Fingerprint,
        contents.BlockBytes,
        contents.Segments,
        contents.FileBytes,
        contents.Blocks,
        contents.LiveBytes,
        contents.DamagedEntries,
        Tenants = contents.Tenants.Select(static tenant => new { tenant.Name, tenant.Blocks, tenant.Bytes }),
    };

    private static void Print(Terminal terminal, string folder, StoreContents contents)
    {
        var table = new Table().Border(TableBorder.Simple).HideHeaders().AddColumns("", "");
        void Row(string name, FormattableString value) =>
            table.AddRow(name, Markup.Escape(value.ToString(CultureInfo.InvariantCulture)));

        Row("folder", $"{folder} (format version {contents.FormatVersion})");
        Row("model", $"{contents.Fingerprint}");
        Row("layout", $"{contents.Layout}, {ByteSize.Approximate(contents.BlockBytes)} a block");
        Row("blocks", $"{contents.Blocks:N0}");
        Row("files", $"{ByteSize.Approximate(contents.FileBytes)} in {contents.Segments:N0} segments");
        Row("alive", $"{ByteSize.Approximate(contents.LiveBytes)}");
        Row("damaged index entries", $"{contents.DamagedEntries:N0}");
        foreach (var tenant in contents.Tenants)
        {
            Row($"tenant '{Markup.Escape(tenant.Name)}'",
                $"{tenant.Blocks:N0} blocks, {ByteSize.Approximate(tenant.Bytes)}");
        }

        terminal.WriteTable(table);
    }
}
