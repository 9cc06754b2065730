using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.StoreTools;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake store get KEY</c>: reads one block from disk, checked.</summary>
internal static class StoreGetCommand
{
    private const int DigitsMin = 4;

    public static Command Create(Terminal terminal)
    {
        var key = new Argument<string>("KEY")
        {
            Description = $"The key, or its first digits, at least {DigitsMin}, if no other block has them.",
        };
        var output = new Option<string?>("--output")
        {
            Description = "File that the block's bytes are written to.",
            HelpName = "FILE",
        };
        var command = new Command("get", "Reads and checks a block of a store on disk; a server may use it meanwhile.")
        {
            key, output,
        };
        _ = new StoreFolderCommand(command, terminal, (call, cancellationToken) =>
            GetAsync(call, call.Parsed.GetValue(key)!, call.Parsed.GetValue(output), cancellationToken));
        return command;
    }

    private static async Task GetAsync(
        StoreFolderCall call, string key, string? output, CancellationToken cancellationToken)
    {
        if (key.Length < DigitsMin || !key.All(char.IsAsciiHexDigit))
        {
            throw new CommandException(
                $"KEY '{key}': expected at least {DigitsMin} hexadecimal digits", ExitCode.Usage);
        }

        var (reader, block, folder) = Find(call.Folders, key);
        var bytes = new byte[reader.BlockBytes];
        if (!reader.TryRead(block.Key, bytes))
        {
            throw new CommandException(
                $"block {block.Key} in {folder} is damaged, or has left its place; segment {block.Segment}, " +
                $"offset {block.Offset}");
        }

        if (output is not null)
        {
            await File.WriteAllBytesAsync(output, bytes, cancellationToken).ConfigureAwait(false);
        }

        var found = new
        {
            Folder = folder,
            Block = StoredBlockLine.Of(block),
            PayloadBytes = bytes.Length,
            Sha256 = Convert.ToHexStringLower(SHA256.HashData(bytes)),
            Output = output,
        };
        if (call.AsJson)
        {
            call.Terminal.WriteJson(found);
            return;
        }

        call.Terminal.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"""
            {found.Block.Key}: intact
            folder {folder}, segment {block.Segment}, offset {block.Offset}
            tenant '{block.Tenant}', {block.Tokens} tokens, stored {block.Stored:yyyy-MM-dd HH:mm:ss} UTC
            {found.PayloadBytes} bytes, sha256 {found.Sha256}
            """));
    }

    private static (StoreReader Reader, StoredBlockInfo Block, string Folder) Find(
        IReadOnlyList<string> folders, string key)
    {
        var found = new List<(StoreReader Reader, StoredBlockInfo Block, string Folder)>();
        foreach (var folder in folders)
        {
            var reader = StoreReader.Open(folder);
            found.AddRange(reader.List(key, limit: 2).Select(block => (reader, block, folder)));
        }

        return found.Count switch
        {
            0 => throw new CommandException($"no block with key {key} in {string.Join(", ", folders)}"),
            1 => found[0],
            _ => throw new CommandException($"more than one block has a key that begins with {key}; give more digits"),
        };
    }
}
