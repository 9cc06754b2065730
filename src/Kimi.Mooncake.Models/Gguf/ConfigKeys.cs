namespace Kimi.Mooncake.Models.Gguf;

/// <summary>Range-checked access to the keys of one architecture; names come without the prefix.</summary>
internal sealed class ConfigKeys(GgufFile file, string architecture)
{
    public GgufFile File { get; } = file;

    public string Name(string key) => $"{architecture}.{key}";

    public bool Has(string key) => File.HasKey(Name(key));

    public int Range(string key, int min, int max)
    {
        var value = File.GetInt32(Name(key));
        return value >= min && value <= max ? value : throw Error(key, $"is {value}; expected {min} to {max}");
    }

    public int RangeOrDefault(string key, int min, int max, int missing) => Has(key) ? Range(key, min, max) : missing;

    public float Positive(string key)
    {
        var value = File.GetSingle(Name(key));
        return value > 0 ? value : throw Error(key, $"is {value}; expected more than 0");
    }

    public float PositiveOrDefault(string key, float missing) => Has(key) ? Positive(key) : missing;

    /// <summary>Checks a key that repeats what others say.</summary>
    public void RequireEqual(string key, int expected, string meaning)
    {
        var value = File.GetInt32(Name(key));
        if (value != expected)
        {
            throw Error(key, $"is {value}; expected {expected} ({meaning})");
        }
    }

    public ModelFileException Error(string key, string problem) =>
        ModelFileException.AtKey(File.Path, Name(key), problem);
}
