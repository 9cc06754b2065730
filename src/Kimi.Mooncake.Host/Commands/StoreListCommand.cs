using System.CommandLine;
using System.Globalization;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.StoreTools;
using Kimi.Mooncake.Store;
using Spectre.Console;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake store ls</c>: the blocks of a store on disk.</summary>
internal static class StoreListCommand
{
    private const int LimitDefault = 100;

    public static Command Create(Terminal terminal)
    {
        var prefix = new Argument<string>("KEY")
        {
            Description = "First hexadecimal digits of the keys.",
            DefaultValueFactory = _ => "",
        };
        var tenant = new Option<string?>("--tenant") { Description = "Blocks of this tenant.", HelpName = "NAME" };
        var limit = new IntOption("--limit", "Most blocks of a store to be listed.", LimitDefault, 1, int.MaxValue);
        var command = new Command("ls", "Lists the blocks of a store on disk; a server may use it meanwhile.")
        {
            prefix, tenant, limit.Option,
        };
        _ = new StoreFolderCommand(command, terminal, (call, _) =>
        {
            var stores = call.Folders.Select(folder => new StoreListing(
                folder,
                [
                    .. StoreReader.Open(folder).List(
                        call.Parsed.GetValue(prefix)!, call.Parsed.GetValue(tenant), limit.Read(call.Parsed))
                        .Select(StoredBlockLine.Of),
                ])).ToList();
            if (call.AsJson)
            {
                terminal.WriteJson(new { Stores = stores });
                return Task.CompletedTask;
            }

            foreach (var store in stores)
            {
                terminal.Output.WriteLine($"{store.Folder}: {store.Blocks.Count} blocks listed");
                terminal.WriteTable(TableOf(store.Blocks));
            }

            return Task.CompletedTask;
        });
        return command;
    }

    private static Table TableOf(IEnumerable<StoredBlockLine> blocks)
    {
        var table = new Table().Border(TableBorder.Simple).AddColumns(
            new TableColumn("key").NoWrap(), new TableColumn("tenant"), new TableColumn("tokens"),
            new TableColumn("class"), new TableColumn("pin"), new TableColumn("expires"), new TableColumn("stored"),
            new TableColumn("bytes"), new TableColumn("segment"));
        foreach (var block in blocks)
        {
            table.AddRow(
                block.Key,
                Markup.Escape(block.Tenant),
                block.Tokens.ToString(CultureInfo.InvariantCulture),
                block.Class.ToString().ToLowerInvariant(),
                block.Pin == PinKind.None ? "" : $"{block.Pin.ToString().ToLowerInvariant()} {Time(block.PinUntil)}",
                Time(block.Expires),
                Time(block.Stored),
                block.Bytes.ToString("N0", CultureInfo.InvariantCulture),
                block.Segment.ToString(CultureInfo.InvariantCulture));
        }

        return table;
    }

    private static string Time(DateTimeOffset? time) =>
        time?.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture) ?? "";

    private sealed record StoreListing(string Folder, IReadOnlyList<StoredBlockLine> Blocks);
}
