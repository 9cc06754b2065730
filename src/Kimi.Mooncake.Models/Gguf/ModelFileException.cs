using System.Globalization;
using System.Text;

namespace Kimi.Mooncake.Models.Gguf;

/// <summary>
/// A model file cannot be used. The message is one line that names the file, the place in it (byte offset, key or
/// tensor) and what was expected there.
/// </summary>
public sealed class ModelFileException : IOException
{
    private const int NameCharactersMax = 100;

    /// <summary>Makes the error of one place in a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="place">Byte offset, key or tensor; empty where the whole file is meant.</param>
    /// <param name="problem">What is wrong and what was expected.</param>
    /// <param name="inner">The system's own error, where there is one.</param>
    public ModelFileException(string path, string place, string problem, Exception? inner = null)
        : base(OneLine($"{path}: {(place.Length == 0 ? "" : place + ": ")}{problem}"), inner)
    {
        Path = path;
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    internal static ModelFileException AtByte(string path, long offset, string problem) =>
        new(path, string.Create(CultureInfo.InvariantCulture, $"byte {offset}"), problem);

    internal static ModelFileException AtKey(string path, string key, string problem) =>
        new(path, $"key '{Shorten(key)}'", problem);

    internal static ModelFileException AtTensor(string path, string name, string problem) =>
        new(path, $"tensor '{Shorten(name)}'", problem);

    /// <summary>The beginning of a name or value that came from a file, short enough for a message.</summary>
    internal static string Shorten(string text) =>
        text.Length <= NameCharactersMax ? text : text[..NameCharactersMax] + "...";

    private static string OneLine(string text)
    {
        var line = new StringBuilder(text.Length);
        foreach (var character in text)
        {
            if (char.IsControl(character))
            {
                line.Append(CultureInfo.InvariantCulture, $"\\u{(int)character:x4}");
            }
            else
            {
                line.Append(character);
            }
        }

        return line.ToString();
    }
}
