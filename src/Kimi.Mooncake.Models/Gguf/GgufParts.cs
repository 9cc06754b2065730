using System.Globalization;
using System.Text.RegularExpressions;
using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models.Gguf;

/// <summary>
/// The files of a GGUF model: one, or all parts of a split one, which are named <c>-00001-of-000NN.gguf</c> and lie
/// together. Metadata is in the first part.
/// </summary>
internal sealed partial class GgufParts : IDisposable
{
    private const string NumberKey = "split.no";
    private const string CountKey = "split.count";
    private const string TensorsKey = "split.tensors.count";
    private const string NameKey = "general.name";

    private readonly List<GgufFile> _files = [];
    private readonly Dictionary<string, GgufFile> _holding = new(StringComparer.Ordinal);

    private GgufParts()
    {
    }

    /// <summary>The file with the metadata.</summary>
    public GgufFile First => _files[0];

    /// <summary>Bytes of all files.</summary>
    public long LengthBytes => _files.Sum(file => file.LengthBytes);

    /// <summary>Tensors, part after part.</summary>
    public IEnumerable<GgufTensor> Tensors => _files.SelectMany(file => file.Tensors);

    /// <summary>Opens a file and, of a split model, all the others.</summary>
    /// <param name="path">The file, or any part.</param>
    /// <exception cref="ModelFileException">
    /// A part is missing, belongs to another model or does not say of itself what its name does.
    /// </exception>
    public static GgufParts Open(string path)
    {
        var parts = new GgufParts();
        try
        {
            var opened = GgufFile.Open(path);
            parts._files.Add(opened);
            var count = opened.GetInt32OrDefault(CountKey, 1);
            if (count > 1)
            {
                parts.OpenAll(path, opened, count);
            }

            foreach (var file in parts._files)
            {
                parts.AddTensors(file);
            }

            return parts;
        }
        catch
        {
            parts.Dispose();
            throw;
        }
    }

    /// <summary>Whether a part has a tensor of this name.</summary>
    public bool HasTensor(string name) => _holding.ContainsKey(name);

    /// <summary>The part that has a tensor.</summary>
    /// <exception cref="ModelFileException">None has.</exception>
    public GgufFile Holding(string name) =>
        _holding.GetValueOrDefault(name)
        ?? throw ModelFileException.AtTensor(
            First.Path,
            name,
            _files.Count == 1
                ? $"is missing; the file has {_holding.Count} tensors"
                : $"is missing; the {_files.Count} parts have {_holding.Count} tensors");

    /// <summary>A tensor as <see cref="GgufFile.Tensor"/> gives it.</summary>
    public TensorData Tensor(string name, params ReadOnlySpan<long> expectedNe) =>
        Holding(name).Tensor(name, expectedNe);

    /// <summary>Asks the system to read all parts in the background.</summary>
    public void ReadAhead() => _files.ForEach(file => file.Mapped.ReadAhead());

    public void Dispose() => _files.ForEach(file => file.Dispose());

    [GeneratedRegex(@"^(?<stem>.*)-(?<number>[0-9]{5})-of-(?<count>[0-9]{5})\.gguf$", RegexOptions.CultureInvariant)]
    private static partial Regex PartName();

    private static string NameOf(string stem, int number, int count) =>
        string.Create(CultureInfo.InvariantCulture, $"{stem}-{number:00000}-of-{count:00000}.gguf");

    private void OpenAll(string path, GgufFile opened, int count)
    {
        var name = PartName().Match(Path.GetFileName(path));
        var stem = name.Groups["stem"].Value;
        if (!name.Success || Path.GetFileName(path) != NameOf(stem, NumberOf(opened, count) + 1, count))
        {
            throw ModelFileException.AtKey(
                path,
                CountKey,
                $"says part {NumberOf(opened, count) + 1} of {count}; expected a file name that ends in "
                + NameOf("", NumberOf(opened, count) + 1, count));
        }

        var folder = Path.GetDirectoryName(path) ?? "";
        _files.Clear();
        var own = NumberOf(opened, count);
        try
        {
            for (var i = 0; i < count; i++)
            {
                var part = i == own ? opened : GgufFile.Open(Path.Combine(folder, NameOf(stem, i + 1, count)));
                _files.Add(part);
                CheckPart(part, i, count);
            }
        }
        finally
        {
            // It is not among the files yet where an earlier part is at fault.
            if (!_files.Contains(opened))
            {
                opened.Dispose();
            }
        }

        CheckTogether();
    }

    private static int NumberOf(GgufFile file, int count)
    {
        var number = file.GetInt32(NumberKey);
        return number >= 0 && number < count
            ? number
            : throw ModelFileException.AtKey(file.Path, NumberKey, $"is {number}; expected 0 to {count - 1}");
    }

    private static void CheckPart(GgufFile part, int number, int count)
    {
        foreach (var (key, expected) in new[] { (CountKey, count), (NumberKey, number) })
        {
            var found = part.GetInt32(key);
            if (found != expected)
            {
                throw ModelFileException.AtKey(
                    part.Path, key, $"is {found}; expected {expected}, as the file's name says");
            }
        }
    }

    private void CheckTogether()
    {
        var found = Tensors.Count();
        foreach (var part in _files)
        {
            var said = part.GetInt32(TensorsKey);
            if (said != First.GetInt32(TensorsKey))
            {
                throw ModelFileException.AtKey(
                    part.Path,
                    TensorsKey,
                    $"is {said}; expected {First.GetInt32(TensorsKey)}, as in {Path.GetFileName(First.Path)}");
            }

            foreach (var key in new[] { GgufKimiConfig.ArchitectureKey, NameKey })
            {
                if (part.GetStringOrDefault(key, null) is { } value && value != First.GetStringOrDefault(key, null))
                {
                    throw ModelFileException.AtKey(
                        part.Path,
                        key,
                        $"is '{ModelFileException.Shorten(value)}'; expected the same as in the first part, "
                        + Path.GetFileName(First.Path));
                }
            }
        }

        if (found != First.GetInt32(TensorsKey))
        {
            throw ModelFileException.AtKey(
                First.Path, TensorsKey, $"is {First.GetInt32(TensorsKey)}; the {_files.Count} parts have {found}");
        }
    }

    private void AddTensors(GgufFile file)
    {
        foreach (var tensor in file.Tensors)
        {
            if (!_holding.TryAdd(tensor.Name, file))
            {
                throw ModelFileException.AtTensor(
                    file.Path,
                    tensor.Name,
                    $"appears here and in {Path.GetFileName(_holding[tensor.Name].Path)}; expected once");
            }
        }
    }
}
