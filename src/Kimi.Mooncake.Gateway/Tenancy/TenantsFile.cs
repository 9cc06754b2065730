using System.Text.Json;
using Kimi.Mooncake.Gateway.OpenAi;

namespace Kimi.Mooncake.Gateway.Tenancy;

/// <summary>
/// Reads a tenants file: <c>{"tenants":[{"tenant","api_key_sha256","namespaces","store_quota_bytes"}]}</c>. Comments
/// and trailing commas are fine; an unknown field is not.
/// </summary>
public static class TenantsFile
{
    /// <summary>Most tenants in a file.</summary>
    public const int TenantsMax = 10_000;

    /// <summary>Most API keys of one tenant, and most of its namespaces.</summary>
    public const int EntriesPerTenantMax = 64;

    private const int HashBytes = 32;
    private const long FileBytesMax = 64L << 20;

    private static readonly JsonDocumentOptions Options =
        new() { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true, MaxDepth = 8 };

    /// <summary>Reads and checks a file.</summary>
    /// <exception cref="TenantsFileException">It cannot be read, or something in it is wrong.</exception>
    public static IReadOnlyList<TenantEntry> Read(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        try
        {
            var size = new FileInfo(path).Length;
            if (size > FileBytesMax)
            {
                throw new TenantsFileException(
                    $"tenants file '{path}' has {size} bytes; expected at most {FileBytesMax}");
            }

            using var document = JsonDocument.Parse(File.ReadAllBytes(path), Options);
            return Parse(document.RootElement, path);
        }
        catch (JsonException fault)
        {
            throw new TenantsFileException(
                $"tenants file '{path}', line {fault.LineNumber + 1}, byte {fault.BytePositionInLine + 1}: it is no " +
                "JSON", fault);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new TenantsFileException($"tenants file '{path}' cannot be read: {fault.Message}", fault);
        }
    }

    private static List<TenantEntry> Parse(JsonElement root, string path)
    {
        RequireFields(root, $"tenants file '{path}'", ["tenants"]);
        if (!root.TryGetProperty("tenants", out var list) || list.ValueKind != JsonValueKind.Array)
        {
            throw new TenantsFileException($"tenants file '{path}', field tenants: expected a list of objects");
        }

        if (list.GetArrayLength() is 0 or > TenantsMax)
        {
            throw new TenantsFileException(
                $"tenants file '{path}', field tenants: {list.GetArrayLength()} entries; expected 1 to {TenantsMax}");
        }

        var entries = new List<TenantEntry>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        var keys = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var (index, element) in list.EnumerateArray().Index())
        {
            var place = $"tenants file '{path}', tenants[{index}]";
            RequireFields(element, place, ["tenant", "api_key_sha256", "namespaces", "store_quota_bytes"]);
            var entry = new TenantEntry(
                Name(element, place), Hashes(element, place), Namespaces(element, place), Quota(element, place));
            if (!names.Add(entry.Tenant))
            {
                throw new TenantsFileException($"{place}.tenant: '{entry.Tenant}' again; expected one entry each");
            }

            foreach (var hash in entry.KeyHashes.Select(Convert.ToHexStringLower))
            {
                if (!keys.TryAdd(hash, index))
                {
                    throw new TenantsFileException(
                        $"{place}.api_key_sha256: {hash} is a key of tenants[{keys[hash]}] already");
                }
            }

            entries.Add(entry);
        }

        return entries;
    }

    private static void RequireFields(JsonElement element, string place, string[] known)
    {
        if (element.ValueKind != JsonValueKind.Object)
        {
            throw new TenantsFileException($"{place}: {JsonFields.Describe(element)}; expected an object");
        }

        foreach (var property in element.EnumerateObject())
        {
            if (!known.Contains(property.Name))
            {
                throw new TenantsFileException(
                    $"{place}: unknown field {ApiException.Quote(property.Name)}; expected {string.Join(", ", known)}");
            }
        }
    }

    private static string Name(JsonElement element, string place) =>
        element.TryGetProperty("tenant", out var value) && value.ValueKind == JsonValueKind.String
            && CallerHeaders.IsName(value.GetString()!)
            ? value.GetString()!
            : throw new TenantsFileException($"{place}.tenant: expected {CallerHeaders.NameRule}");

    private static byte[][] Hashes(JsonElement element, string place)
    {
        var hashes = new List<byte[]>();
        foreach (var text in Texts(element, "api_key_sha256", place))
        {
            if (text.Length != HashBytes * 2 || !text.All(char.IsAsciiHexDigit))
            {
                throw new TenantsFileException(
                    $"{place}.api_key_sha256: {ApiException.Quote(text)}; expected {HashBytes * 2} hexadecimal " +
                    "digits, as `mooncake tenant hash` prints them");
            }

            hashes.Add(Convert.FromHexString(text));
        }

        return hashes.Count > 0
            ? [.. hashes]
            : throw new TenantsFileException(
                $"{place}.api_key_sha256: none; expected the SHA-256 of an API key, or a list of them");
    }

    private static HashSet<string> Namespaces(JsonElement element, string place)
    {
        var names = Texts(element, "namespaces", place);
        return names.Find(name => !CallerHeaders.IsName(name)) is { } wrong
            ? throw new TenantsFileException(
                $"{place}.namespaces: {ApiException.Quote(wrong)}; expected {CallerHeaders.NameRule}")
            : [.. names];
    }

    private static long? Quota(JsonElement element, string place)
    {
        if (!element.TryGetProperty("store_quota_bytes", out var value))
        {
            return null;
        }

        return value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var bytes) && bytes >= 0
            ? bytes
            : throw new TenantsFileException(
                $"{place}.store_quota_bytes: {JsonFields.Describe(value)}; expected a whole number of bytes, 0 for a " +
                "fair share");
    }

    private static List<string> Texts(JsonElement element, string field, string place)
    {
        if (!element.TryGetProperty(field, out var value))
        {
            return [];
        }

        var items = value.ValueKind == JsonValueKind.Array ? value.EnumerateArray().ToArray() : [value];
        if (items.Length > EntriesPerTenantMax || items.Any(item => item.ValueKind != JsonValueKind.String))
        {
            throw new TenantsFileException(
                $"{place}.{field}: expected a text, or a list of at most {EntriesPerTenantMax}");
        }

        return [.. items.Select(item => JsonFields.TextOf(item, field))];
    }
}
