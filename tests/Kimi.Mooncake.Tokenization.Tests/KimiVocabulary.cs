using System.Globalization;
using System.Text;
using System.Text.Json;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Tokenization.Tests;

/// <summary>The official Kimi vocabulary, read from its published files once for all tests.</summary>
internal static class KimiVocabulary
{
    private const int OrdinaryTokens = 163_584;
    private const int AllTokens = 163_840;

    private static readonly Lazy<KimiTokenizer> Loaded = new(Load);

    public static KimiTokenizer Tokenizer => Loaded.Value;

    public static string DataFile(string name) => SharedData.PathOf("tokenizer", name);

    private static KimiTokenizer Load()
    {
        var ranks = new Dictionary<string, int>(StringComparer.Ordinal);
        var tokens = new string[AllTokens];
        foreach (var line in File.ReadLines(DataFile("tiktoken.model")).Where(l => l.Length > 0))
        {
            var space = line.IndexOf(' ', StringComparison.Ordinal);
            var bytes = Convert.FromBase64String(line[..space]);
            var rank = int.Parse(line.AsSpan(space + 1), CultureInfo.InvariantCulture);
            ranks.Add(Encoding.Latin1.GetString(bytes), rank);
            tokens[rank] = ByteAlphabet.Write(bytes);
        }

        for (var id = OrdinaryTokens; id < AllTokens; id++)
        {
            tokens[id] = $"<|reserved_token_{id}|>";
        }

        using var config = JsonDocument.Parse(File.ReadAllBytes(DataFile("tokenizer_config.json")));
        foreach (var added in config.RootElement.GetProperty("added_tokens_decoder").EnumerateObject())
        {
            tokens[int.Parse(added.Name, CultureInfo.InvariantCulture)] =
                added.Value.GetProperty("content").GetString()!;
        }

        var types = Enumerable.Range(0, AllTokens).Select(id => id < OrdinaryTokens ? 1 : 3).ToArray();
        return new KimiTokenizer(new BpeVocabulary(tokens, types, Merges(ranks)));
    }

    /// <summary>A token's merge is the last step of merging its bytes by lower ranks only: exactly two parts.</summary>
    private static List<string> Merges(Dictionary<string, int> ranks)
    {
        var merges = new List<string>(ranks.Count);
        foreach (var (token, rank) in ranks.Where(r => r.Key.Length > 1).OrderBy(r => r.Value))
        {
            var parts = token.Select(c => c.ToString()).ToList();
            while (parts.Count > 2)
            {
                var best = Enumerable.Range(0, parts.Count - 1)
                    .MinBy(i => ranks.TryGetValue(parts[i] + parts[i + 1], out var r) && r < rank ? r : int.MaxValue);
                parts[best] += parts[best + 1];
                parts.RemoveAt(best + 1);
            }

            merges.Add(string.Join(' ', parts.Select(p => ByteAlphabet.Write(Encoding.Latin1.GetBytes(p)))));
        }

        return merges;
    }
}
