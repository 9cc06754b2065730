using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models.Gguf;

namespace Kimi.Mooncake.Models.Safetensors;

/// <summary>A model in a folder of safetensors files as Hugging Face's programs write it.</summary>
internal sealed class SafetensorsModelSource : ModelSource
{
    public const string ConfigName = "config.json";

    private const string FingerprintVersion = "kimi-mooncake fingerprint 2 safetensors";

    private readonly ShardFolder _shards;
    private readonly HfWeights _weights;
    private readonly HfTensorNames _names;
    private readonly bool _isTied;
    private readonly List<string> _notes = [];
    private readonly Lazy<IReadOnlyList<StoredTensor>> _tensors;

    public SafetensorsModelSource(string folder, string? index, ModelReadOptions options)
    {
        Path = folder;
        var root = JsonFile.Read(System.IO.Path.Combine(folder, ConfigName));
        var text = HfKimiConfig.TextOf(root);
        var name = System.IO.Path.GetFileName(
            System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(folder)));
        Config = HfKimiConfig.Read(root, name, _notes) with { LatentNormEpsilon = options.LatentEpsilon };
        Architecture = HfKimiConfig.ArchitectureOf(root);
        EosTokens = TextFiles.EosTokens(folder, root, Config.VocabularySize);
        ChatTemplate = TextFiles.ChatTemplate(folder);
        Vocabulary = TextFiles.Vocabulary(folder);
        _isTied = text.BoolOrDefault("tie_word_embeddings", root.BoolOrDefault("tie_word_embeddings", false));
        var quantization = HfQuantization.Read(root, text);
        _shards = ShardFolder.Open(folder, index);
        try
        {
            _names = new HfTensorNames(FindPrefix(), Config.QueryLoraRank > 0);
        }
        catch
        {
            _shards.Dispose();
            throw;
        }

        _weights = new HfWeights(_shards, quantization, folder);
        _tensors = new Lazy<IReadOnlyList<StoredTensor>>(() => [.. _shards.Tensors.Select(Stored)]);
        NoteUnused();
    }

    public override string Path { get; }

    public override ModelContainer Container => ModelContainer.Safetensors;

    public override KimiConfig Config { get; }

    public override long LengthBytes => _shards.LengthBytes;

    public override IReadOnlyList<StoredTensor> Tensors => _tensors.Value;

    public override string? ChatTemplate { get; }

    public override IReadOnlyList<int> EosTokens { get; }

    public override string Architecture { get; }

    public override IReadOnlyList<string> Notes => _notes;

    public override VocabularySource? Vocabulary { get; }

    public override string Fingerprint()
    {
        using var print = new WeightFingerprint();
        var bytes = _shards.Tensors.Sum(found => found.Tensor.SizeBytes);
        var isWhole = bytes <= WeightFingerprint.WholeBytesMax;
        print.Append(FingerprintVersion);
        print.Append(isWhole ? 0 : bytes);
        print.Append(Architecture);
        print.Append(Config);
        print.Append(_isTied ? 1 : 0);
        return print.Complete(
            _shards.Tensors.Select(found => new FingerprintTensor(
                found.Tensor.Name, found.Tensor.Type.Number, found.Tensor.Shape, found.File.Mapped,
                found.Tensor.Offset, found.Tensor.SizeBytes)),
            isWhole);
    }

    public override TensorData Tensor(TensorRole role, int layer = -1, int expert = -1)
    {
        var (rows, columns) = KimiTensors.ShapeOf(Config, role);
        if (role is TensorRole.ExpertGate or TensorRole.ExpertUp && _weights.Has(_names.FusedGateUp(layer)))
        {
            // Of each expert the gate's rows, then the up-projection's.
            var first = ((expert * 2L) + (role == TensorRole.ExpertUp ? 1 : 0)) * rows;
            return _weights.Stacked(
                _names.FusedGateUp(layer), (Config.ExpertCount, checked((int)rows * 2), columns), first, rows);
        }

        if (role == TensorRole.ExpertDown && _weights.Has(_names.FusedDown(layer)))
        {
            return _weights.Stacked(
                _names.FusedDown(layer), (Config.ExpertCount, (int)rows, columns), expert * rows, rows);
        }

        var stored = _isTied && role == TensorRole.OutputHead ? TensorRole.Embedding : role;
        var isVector = TensorRoles.IsVector(role);
        return _weights.Matrix(_names.Of(stored, layer, expert), rows, columns, isVector);
    }

    public override AttentionProjections AttentionUp(int layer, AttentionShape shape) =>
        AttentionProjections.FromCombined(
            shape,
            _weights.Matrix(
                _names.KvUp(layer),
                (long)Config.HeadCount * (Config.NopeDimension + Config.ValueDimension),
                Config.KvLoraRank));

    public override void Check()
    {
        base.Check();
        var unused = new UnusedTensors(Config, _names, _weights, _isTied);
        foreach (var (file, tensor) in _shards.Tensors)
        {
            if (unused.ChangesTheNetwork(tensor.Name))
            {
                throw ModelFileException.AtTensor(
                    file.Path, tensor.Name, "is a part of the text network that would not be computed: not supported");
            }
        }
    }

    public override void ReadAhead() => _shards.ReadAhead();

    protected override void Dispose(bool disposing) => _shards.Dispose();

    private static StoredTensor Stored((SafetensorsFile File, SafetensorsTensor Tensor) found) => new(
        found.Tensor.Name, found.Tensor.Type.Name, [.. found.Tensor.Shape], found.Tensor.SizeBytes, found.File.Path);

    /// <summary>What stands before the names of the text network: nothing, or the larger model's name for it.</summary>
    private string FindPrefix()
    {
        string? prefix = null;
        foreach (var (file, tensor) in _shards.Tensors)
        {
            if (!tensor.Name.EndsWith(HfTensorNames.Embedding, StringComparison.Ordinal))
            {
                continue;
            }

            var found = tensor.Name[..^HfTensorNames.Embedding.Length];
            if (prefix is not null)
            {
                throw ModelFileException.AtTensor(
                    file.Path, tensor.Name, $"is a second text network beside '{prefix}'; expected one");
            }

            prefix = found;
        }

        return prefix ?? throw ModelFileException.AtTensor(
            Path, HfTensorNames.Embedding, $"is missing; the files have {_shards.Tensors.Count} tensors");
    }

    private void NoteUnused()
    {
        var (others, beyond) = (0, 0);
        string example = "";
        foreach (var (_, tensor) in _shards.Tensors)
        {
            if (!_names.IsOfNetwork(tensor.Name))
            {
                example = others++ == 0 ? tensor.Name : example;
            }
            else if (_names.LayerOf(tensor.Name) >= Config.LayerCount)
            {
                beyond++;
            }
        }

        if (others > 0)
        {
            _notes.Add(
                $"{Path}: {others} tensors are no part of the text network and not used, "
                + $"such as '{ModelFileException.Shorten(example)}'");
        }

        if (beyond > 0)
        {
            _notes.Add($"{Path}: {beyond} tensors of layers beyond the {Config.LayerCount} configured are not used");
        }

        if (_isTied && _weights.Has(_names.Of(TensorRole.OutputHead, -1, -1)))
        {
            _notes.Add($"{Path}: tie_word_embeddings is true; logits are made with the embeddings, not the head");
        }
    }
}
