using System.Text.Json;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>
/// Reads a trace as Mooncake published them: one JSON object per line with <c>timestamp</c> (ms), <c>input_length</c>
/// and <c>output_length</c> (tokens) and <c>hash_ids</c>, a number for each block of the prompt.
/// </summary>
internal static class TraceFile
{
    /// <summary>Reads all requests.</summary>
    /// <param name="path">The file.</param>
    /// <param name="blockTokens">Tokens that each number stands for.</param>
    /// <exception cref="CommandException">A line is not what it should be; the message names file and line.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static List<TraceRequest> Read(string path, int blockTokens)
    {
        if (Directory.Exists(path))
        {
            throw new CommandException($"{path} is a folder; expected a trace");
        }

        var requests = new List<TraceRequest>();
        var number = 0;
        foreach (var line in File.ReadLines(path))
        {
            number++;
            if (!string.IsNullOrWhiteSpace(line))
            {
                requests.Add(ReadLine(line, blockTokens, fault => new CommandException($"{path}:{number}: {fault}")));
            }
        }

        return requests.Count > 0 ? requests : throw new CommandException($"{path}: the trace has no requests");
    }

    private static TraceRequest ReadLine(string line, int blockTokens, Func<string, CommandException> fault)
    {
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(line);
        }
        catch (JsonException exception)
        {
            throw fault($"byte {exception.BytePositionInLine}: not JSON: {exception.Message.Split('.')[0]}");
        }

        using (document)
        {
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                throw fault("expected an object");
            }

            var timestamp = Number(document.RootElement, "timestamp", long.MaxValue, fault);
            var input = (int)Number(document.RootElement, "input_length", int.MaxValue, fault);
            Number(document.RootElement, "output_length", int.MaxValue, fault);
            var blocks = Blocks(document.RootElement, fault);
            var expected = ((long)input + blockTokens - 1) / blockTokens;
            return blocks.Count == expected
                ? new TraceRequest(timestamp, input, blocks)
                : throw fault(
                    $"hash_ids has {blocks.Count} blocks, but input_length {input} makes {expected} of {blockTokens} " +
                    "tokens; is --block-tokens right?");
        }
    }

    private static long Number(JsonElement request, string name, long max, Func<string, CommandException> fault)
    {
        if (!request.TryGetProperty(name, out var element))
        {
            throw fault($"{name} is missing");
        }

        // Some tools write times as 12.0.
        return element.ValueKind == JsonValueKind.Number && element.TryGetDouble(out var value) && value >= 0 &&
            value <= max
            ? (long)value
            : throw fault($"{name} is {element.GetRawText()}; expected a number from 0 to {max}");
    }

    private static List<long> Blocks(JsonElement request, Func<string, CommandException> fault)
    {
        if (!request.TryGetProperty("hash_ids", out var array) || array.ValueKind != JsonValueKind.Array)
        {
            throw fault("hash_ids is missing or no list");
        }

        var blocks = new List<long>(array.GetArrayLength());
        foreach (var element in array.EnumerateArray())
        {
            blocks.Add(element.ValueKind == JsonValueKind.Number && element.TryGetInt64(out var block)
                ? block
                : throw fault($"hash_ids[{blocks.Count}] is {element.GetRawText()}; expected a whole number"));
        }

        return blocks;
    }
}
