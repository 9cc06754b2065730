using System.Text.Json;
using Kimi.Mooncake.Models.Gguf;

namespace Kimi.Mooncake.Models.Safetensors;

/// <summary>
/// The safetensors files of a folder: those that <c>model.safetensors.index.json</c> names, or the only one.
/// </summary>
internal sealed class ShardFolder : IDisposable
{
    public const string IndexName = "model.safetensors.index.json";

    private const string Extension = ".safetensors";
    private const string SingleName = "model" + Extension;
    private const int IndexBytesMax = 256 << 20;
    private const int ShardsMax = 4096;

    private readonly Dictionary<string, SafetensorsFile> _shards = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (SafetensorsFile File, SafetensorsTensor Tensor)> _tensors =
        new(StringComparer.Ordinal);
    private readonly string _folder;

    private ShardFolder(string folder)
    {
        _folder = folder;
    }

    /// <summary>Bytes of all files.</summary>
    public long LengthBytes => _shards.Values.Sum(shard => shard.Mapped.LengthBytes);

    /// <summary>Tensors of all files with the file that holds them.</summary>
    public IReadOnlyCollection<(SafetensorsFile File, SafetensorsTensor Tensor)> Tensors => _tensors.Values;

    /// <summary>Opens the files.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="index">The index; null takes the usual one where it is there.</param>
    /// <exception cref="ModelFileException">A file is missing or malformed, or the index does not fit them.</exception>
    public static ShardFolder Open(string folder, string? index)
    {
        var shards = new ShardFolder(folder);
        try
        {
            index ??= File.Exists(Path.Combine(folder, IndexName)) ? Path.Combine(folder, IndexName) : null;
            if (index is null)
            {
                shards.Add(shards.OnlyFile());
            }
            else
            {
                shards.ReadIndex(index);
            }

            return shards;
        }
        catch
        {
            shards.Dispose();
            throw;
        }
    }

    /// <summary>A tensor and its file; null where there is none.</summary>
    public (SafetensorsFile File, SafetensorsTensor Tensor)? Find(string name) =>
        _tensors.TryGetValue(name, out var found) ? found : null;

    /// <summary>Asks the system to read all shards in the background.</summary>
    public void ReadAhead()
    {
        foreach (var shard in _shards.Values)
        {
            shard.Mapped.ReadAhead();
        }
    }

    public void Dispose()
    {
        foreach (var shard in _shards.Values)
        {
            shard.Dispose();
        }
    }

    private string OnlyFile()
    {
        var files = ModelFiles.InFolder(_folder, Extension);
        return files.Length switch
        {
            1 => Path.GetFileName(files[0]),
            0 => throw new ModelFileException(_folder, "", $"has no {Extension} file; expected one, or {IndexName}"),
            _ when files.Any(file => Path.GetFileName(file) == SingleName) => SingleName,
            _ => throw new ModelFileException(
                _folder, "", $"has {files.Length} {Extension} files; expected {IndexName} beside them"),
        };
    }

    private SafetensorsFile Add(string name)
    {
        var file = SafetensorsFile.Open(Path.Combine(_folder, name));
        _shards.Add(name, file);
        foreach (var tensor in file.Tensors)
        {
            if (!_tensors.TryAdd(tensor.Name, (file, tensor)))
            {
                throw ModelFileException.AtTensor(
                    file.Path,
                    tensor.Name,
                    $"appears here and in {Path.GetFileName(_tensors[tensor.Name].File.Path)}; expected once");
            }
        }

        return file;
    }

    private void ReadIndex(string path)
    {
        using var mapped = ModelFiles.Map(path, "an index of safetensors files");
        if (mapped.LengthBytes > IndexBytesMax)
        {
            throw new ModelFileException(
                path, "", $"has {mapped.LengthBytes} bytes; expected at most {IndexBytesMax} of an index");
        }

        var entries = new IndexEntries(this, path);
        JsonPlaces.Read(path, 0, mapped.Bytes(0, (int)mapped.LengthBytes), entries.Read);
    }

    /// <summary>
    /// Reads an index. No name of a tensor is kept: the headers of the files have them all, so that a long index costs
    /// no memory.
    /// </summary>
    private sealed class IndexEntries(ShardFolder folder, string path)
    {
        private readonly HashSet<string> _seen = new(StringComparer.Ordinal);
        private readonly string _file = path;

        public void Read(ref Utf8JsonReader reader)
        {
            var isFound = false;
            JsonPlaces.Expect(ref reader, JsonTokenType.StartObject, "an object with weight_map");
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                if (!reader.ValueTextEquals("weight_map"))
                {
                    reader.Skip();
                    continue;
                }

                if (isFound)
                {
                    throw ModelFileException.AtKey(_file, "weight_map", "appears twice; expected once");
                }

                isFound = true;
                ReadMap(ref reader);
            }

            JsonPlaces.ExpectEnd(ref reader);
            if (!isFound)
            {
                throw ModelFileException.AtKey(_file, "weight_map", "is missing; expected the shard of each tensor");
            }
        }

        private void ReadMap(ref Utf8JsonReader reader)
        {
            JsonPlaces.Expect(ref reader, JsonTokenType.StartObject, "an object of tensors and shards");
            var shard = "";
            SafetensorsFile? file = null;
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var name = reader.GetString()!;
                JsonPlaces.Expect(ref reader, JsonTokenType.String, "the name of a shard");
                if (file is null || !reader.ValueTextEquals(shard))
                {
                    shard = reader.GetString()!;
                    file = Shard(name, shard);
                }

                if (!folder._tensors.TryGetValue(name, out var found) || found.File != file)
                {
                    throw ModelFileException.AtTensor(
                        _file, name, $"is said to be in {ModelFileException.Shorten(shard)}, which does not have it");
                }

                // The key of the table is kept instead of a second copy of each name.
                if (!_seen.Add(found.Tensor.Name))
                {
                    throw ModelFileException.AtTensor(_file, name, "appears twice; expected once");
                }
            }
        }

        private SafetensorsFile Shard(string tensor, string name)
        {
            if (folder._shards.TryGetValue(name, out var file))
            {
                return file;
            }

            if (!IsPlainName(name))
            {
                throw ModelFileException.AtTensor(
                    _file,
                    tensor,
                    $"is said to be in '{ModelFileException.Shorten(name)}'; expected the name of a {Extension} file "
                    + "in the same folder");
            }

            if (folder._shards.Count == ShardsMax)
            {
                throw ModelFileException.AtTensor(
                    _file, tensor, $"is in one shard too many; expected at most {ShardsMax}");
            }

            if (!File.Exists(Path.Combine(folder._folder, name)))
            {
                throw ModelFileException.AtTensor(
                    _file, tensor, $"is said to be in {ModelFileException.Shorten(name)}, which is missing");
            }

            return folder.Add(name);
        }

        // Separators of every system, so that an index means the same wherever it is read.
        private static bool IsPlainName(string name) =>
            name.EndsWith(Extension, StringComparison.Ordinal)
            && name.AsSpan().IndexOfAny("/\\:") < 0
            && !name.Any(char.IsControl);
    }
}
