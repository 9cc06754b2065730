using System.Collections.Immutable;
using System.Globalization;
using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models.Gguf;

/// <summary>A model in a GGUF file, or in the parts of a split one.</summary>
internal sealed class GgufModelSource : ModelSource
{
    private const string KeyUp = "attn_k_b.weight";
    private const string ValueUp = "attn_v_b.weight";
    private const string KvUp = "attn_kv_b.weight";

    private readonly GgufParts _parts;
    private readonly List<string> _notes = [];
    private readonly bool _isTied;
    private readonly Lazy<VocabularySource?> _vocabulary;

    public GgufModelSource(string path, ModelReadOptions options)
    {
        Path = path;
        _parts = GgufParts.Open(path);
        try
        {
            var file = _parts.First;
            Config = GgufKimiConfig.Read(file, _notes) with { LatentNormEpsilon = options.LatentEpsilon };
            Architecture = file.GetString(GgufKimiConfig.ArchitectureKey);
            ChatTemplate = file.GetStringOrDefault("tokenizer.chat_template", null);
            int?[] ends =
            [
                GgufVocabulary.TokenId(file, "eos", Config.VocabularySize),
                GgufVocabulary.TokenId(file, "eot", Config.VocabularySize),
            ];
            EosTokens = [.. ends.OfType<int>().Distinct()];
        }
        catch
        {
            _parts.Dispose();
            throw;
        }

        _isTied = !_parts.HasTensor(GgufTensorNames.OutputHead);
        if (_isTied)
        {
            _notes.Add(
                $"{path}: tensor '{GgufTensorNames.OutputHead}' is missing; logits are made with the embeddings");
        }

        var encoders = _parts.Tensors.Count(tensor => GgufTensorNames.IsOfEncoder(tensor.Name));
        if (encoders > 0)
        {
            _notes.Add($"{path}: {encoders} tensors of an encoder of pictures are not used");
        }

        Tensors = [.. _parts.Tensors.Select(Stored)];
        _vocabulary = new Lazy<VocabularySource?>(ReadVocabulary);
    }

    public override string Path { get; }

    public override ModelContainer Container => ModelContainer.Gguf;

    public override KimiConfig Config { get; }

    public override long LengthBytes => _parts.LengthBytes;

    public override IReadOnlyList<StoredTensor> Tensors { get; }

    public override string? ChatTemplate { get; }

    public override IReadOnlyList<int> EosTokens { get; }

    public override string Architecture { get; }

    public override IReadOnlyList<string> Notes => _notes;

    public override VocabularySource? Vocabulary => _vocabulary.Value;

    public override string Fingerprint() =>
        ModelFingerprint.Compute(_parts, Config, WeightFingerprint.WholeBytesMax);

    public override void Check()
    {
        base.Check();
        var used = UsedNames();
        foreach (var tensor in _parts.Tensors)
        {
            if (LayerOf(tensor.Name) >= Config.LayerCount)
            {
                throw ModelFileException.AtTensor(
                    _parts.Holding(tensor.Name).Path,
                    tensor.Name,
                    $"lies beyond the {Config.LayerCount} layers of the configuration");
            }

            if (!used.Contains(tensor.Name) && !GgufTensorNames.IsOfEncoder(tensor.Name))
            {
                throw ModelFileException.AtTensor(
                    _parts.Holding(tensor.Name).Path,
                    tensor.Name,
                    "is no part of the configured network and would not be computed: not supported");
            }
        }
    }

    public override TensorData Tensor(TensorRole role, int layer = -1, int expert = -1)
    {
        var (rows, columns) = KimiTensors.ShapeOf(Config, role);
        var stored = _isTied && role == TensorRole.OutputHead ? TensorRole.Embedding : role;
        var name = GgufTensorNames.Of(stored, layer, Config.QueryLoraRank > 0);
        if (GgufTensorNames.IsStacked(role))
        {
            return _parts.Tensor(name, columns, rows, Config.ExpertCount).Slice(expert * rows, rows);
        }

        return TensorRoles.IsVector(role) ? _parts.Tensor(name, columns) : _parts.Tensor(name, columns, rows);
    }

    public override AttentionProjections AttentionUp(int layer, AttentionShape shape)
    {
        var key = GgufTensorNames.InLayer(layer, KeyUp);
        var value = GgufTensorNames.InLayer(layer, ValueUp);
        var both = GgufTensorNames.InLayer(layer, KvUp);
        var (nope, latent, heads) = (Config.NopeDimension, Config.KvLoraRank, Config.HeadCount);

        // Older files have the joint tensor, some of them the separate ones too.
        if (_parts.HasTensor(both) && !(_parts.HasTensor(key) && _parts.HasTensor(value)))
        {
            return AttentionProjections.FromCombined(
                shape, _parts.Tensor(both, latent, nope + Config.ValueDimension, heads));
        }

        return AttentionProjections.FromSplit(
            shape, _parts.Tensor(key, nope, latent, heads), _parts.Tensor(value, latent, Config.ValueDimension, heads));
    }

    public override void ReadAhead() => _parts.ReadAhead();

    protected override void Dispose(bool disposing) => _parts.Dispose();

    private HashSet<string> UsedNames()
    {
        var used = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (role, layer, _) in KimiTensors.All(Config).Where(place => place.Expert <= 0))
        {
            used.Add(GgufTensorNames.Of(role, layer, Config.QueryLoraRank > 0));
        }

        for (var layer = 0; layer < Config.LayerCount; layer++)
        {
            used.Add(GgufTensorNames.InLayer(layer, KeyUp));
            used.Add(GgufTensorNames.InLayer(layer, ValueUp));
            used.Add(GgufTensorNames.InLayer(layer, KvUp));
        }

        return used;
    }

    private StoredTensor Stored(GgufTensor tensor) => new(
        tensor.Name, tensor.Type.Name, [.. tensor.Ne.Reverse()], tensor.SizeBytes, _parts.Holding(tensor.Name).Path);

    private GgufVocabularySource? ReadVocabulary() => _parts.First.HasKey(GgufVocabulary.TokensKey)
        ? new GgufVocabularySource(_parts.First.Path, GgufVocabulary.Read(_parts.First))
        : null;

    private static int LayerOf(string name)
    {
        if (!name.StartsWith(GgufTensorNames.LayerPrefix, StringComparison.Ordinal))
        {
            return -1;
        }

        var digits = name.AsSpan(GgufTensorNames.LayerPrefix.Length);
        var dot = digits.IndexOf('.');
        return dot > 0 && int.TryParse(digits[..dot], NumberStyles.None, CultureInfo.InvariantCulture, out var layer)
            ? layer
            : -1;
    }
}
