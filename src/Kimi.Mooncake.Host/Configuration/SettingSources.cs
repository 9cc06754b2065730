using System.Collections;
using System.Text.Json;

namespace Kimi.Mooncake.Host.Configuration;

/// <summary>A value that somebody gave, still as text.</summary>
internal sealed record GivenValue(string Name, string Text, string Source);

/// <summary>Reads the places that give values, each in its own spelling.</summary>
internal static class SettingSources
{
    private const string EnvironmentPrefix = "MOONCAKE_";
    private const string EnvironmentSeparator = "__";

    /// <summary>How JSON files of people are read: comments and trailing commas are fine.</summary>
    public static readonly JsonDocumentOptions FileOptions =
        new() { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true, MaxDepth = 8 };

    /// <summary>A JSON file: sections as objects, or full names with dots.</summary>
    public static IEnumerable<GivenValue> FromFile(string path)
    {
        var values = new List<GivenValue>();
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path), FileOptions);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                throw new SettingException($"file {path}: expected an object of sections at the top");
            }

            AddObject(values, document.RootElement, "", $"file {path}");
        }
        catch (JsonException fault)
        {
            throw new SettingException($"file {path}: {fault.Message}");
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new SettingException($"configuration file cannot be read: {fault.Message}");
        }

        return values;
    }

    /// <summary>An object of settings within a file: sections as objects, or full names with dots.</summary>
    public static IReadOnlyList<GivenValue> FromObject(JsonElement element, string source)
    {
        var values = new List<GivenValue>();
        AddObject(values, element, "", source);
        return values;
    }

    /// <summary>
    /// Environment variables <c>MOONCAKE_SECTION__NAME</c>. Without the double underscore a variable is no setting.
    /// </summary>
    public static IEnumerable<GivenValue> FromEnvironment(IDictionary variables) =>
        from DictionaryEntry variable in variables
        let name = (string)variable.Key
        where name.StartsWith(EnvironmentPrefix, StringComparison.Ordinal)
            && name.Contains(EnvironmentSeparator, StringComparison.Ordinal)
        let setting = name[EnvironmentPrefix.Length..].ToLowerInvariant()
            .Replace(EnvironmentSeparator, ".", StringComparison.Ordinal)
        orderby name
        select new GivenValue(setting, (string?)variable.Value ?? "", $"environment variable {name}");

    /// <summary>Arguments <c>section.name=value</c> of <c>--set</c>.</summary>
    public static IEnumerable<GivenValue> FromArguments(IEnumerable<string> arguments) =>
        arguments.Select(argument =>
        {
            var equals = argument.IndexOf('=', StringComparison.Ordinal);
            return equals > 0
                ? new GivenValue(argument[..equals].Trim(), argument[(equals + 1)..], "--set")
                : throw new SettingException($"--set {argument}: expected section.name=value");
        });

    private static void AddObject(List<GivenValue> values, JsonElement element, string prefix, string source)
    {
        foreach (var member in element.EnumerateObject())
        {
            var name = prefix + member.Name;
            switch (member.Value.ValueKind)
            {
                case JsonValueKind.Object:
                    AddObject(values, member.Value, name + ".", source);
                    break;
                case JsonValueKind.String:
                    values.Add(new GivenValue(name, member.Value.GetString()!, source));
                    break;
                case JsonValueKind.Number or JsonValueKind.True or JsonValueKind.False:
                    values.Add(new GivenValue(name, member.Value.GetRawText(), source));
                    break;
                default:
                    throw new SettingException($"setting {name} in {source}: expected text, a number, true or false");
            }
        }
    }
}
