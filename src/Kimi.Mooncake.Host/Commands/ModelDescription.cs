using System.Text.Json.Serialization;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Models;
using Kimi.Mooncake.Models.Gguf;
using Kimi.Mooncake.Worker;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>What a model file holds, as <c>mooncake model info</c> prints it.</summary>
internal sealed record ModelDescription
{
    private const int TokensOfLongUnit = 1000;

    public required string File { get; init; }

    public required long FileBytes { get; init; }

    public required string Container { get; init; }

    public required string Name { get; init; }

    public required string Architecture { get; init; }

    public required string Fingerprint { get; init; }

    public required int ContextLengthTokens { get; init; }

    public required int VocabularySizeTokens { get; init; }

    public required int HiddenSize { get; init; }

    public required int LayerCount { get; init; }

    public required int DenseLayerCount { get; init; }

    public required int HeadCount { get; init; }

    public required int QueryLoraRank { get; init; }

    public required int KvLoraRank { get; init; }

    public required int NopeDimension { get; init; }

    public required int RopeDimension { get; init; }

    public required int ValueDimension { get; init; }

    public required int IntermediateSize { get; init; }

    public required int ExpertIntermediateSize { get; init; }

    public required int ExpertCount { get; init; }

    public required int ExpertsPerToken { get; init; }

    public required int SharedExpertCount { get; init; }

    /// <summary>Values of the network, however they are stored.</summary>
    public required long Parameters { get; init; }

    /// <summary>Those that one token is multiplied with: its experts only, and no embedding.</summary>
    public required long ActiveParameters { get; init; }

    public required double RopeBase { get; init; }

    /// <summary>Null where the model has none.</summary>
    public required YarnScaling? Yarn { get; init; }

    public required float ExpertWeightScale { get; init; }

    public required float RmsNormEpsilon { get; init; }

    public required float LatentNormEpsilon { get; init; }

    /// <summary>Kind of the tokenizer; null where the model has none.</summary>
    public required string? Tokenizer { get; init; }

    /// <summary>Token ids that end an answer, as the files say.</summary>
    public required IReadOnlyList<int> EosTokens { get; init; }

    /// <summary>Whether the files carry a conversation format.</summary>
    public required bool HasChatTemplate { get; init; }

    public required int TensorCount { get; init; }

    /// <summary>Bytes of tensor data by encoding.</summary>
    public required IReadOnlyDictionary<string, long> TensorBytesByType { get; init; }

    /// <summary>In what a worker caches keys and values unless configured; the figures below are of this.</summary>
    public required KvElementType KvType { get; init; }

    public required int KvBytesPerToken { get; init; }

    [JsonPropertyName("kv_bytes_per_1k_tokens")]
    public required long KvBytesPer1KTokens { get; init; }

    public required int KvBytesPerBlock { get; init; }

    /// <summary>Tokens of the block that <see cref="KvBytesPerBlock"/> is about.</summary>
    public required int BlockTokens { get; init; }

    /// <summary>What the file says and this version does not use.</summary>
    public required IReadOnlyList<string> Notes { get; init; }

    /// <summary>Every tensor; null unless asked for.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<TensorDescription>? Tensors { get; init; }

    /// <exception cref="ModelFileException">The file is no model that can be read.</exception>
    public static ModelDescription Read(string path, bool listsTensors)
    {
        using var source = ModelSource.Open(path);
        source.Check();
        var config = source.Config;
        var parameters = KimiParameters.Of(config);
        var kvType = LoadedModel.ParseKvType("auto", source, CpuArithmetic.Fast);
        var layout = KimiModel.LayoutOf(config, KvLayout.BlockTokensDefault, kvType);
        return new ModelDescription
        {
            File = path,
            FileBytes = source.LengthBytes,
            Container = source.Container.ToString().ToLowerInvariant(),
            Name = config.Name,
            Architecture = source.Architecture,
            Fingerprint = source.Fingerprint(),
            ContextLengthTokens = config.ContextLength,
            VocabularySizeTokens = config.VocabularySize,
            HiddenSize = config.HiddenSize,
            LayerCount = config.LayerCount,
            DenseLayerCount = config.DenseLayerCount,
            HeadCount = config.HeadCount,
            QueryLoraRank = config.QueryLoraRank,
            KvLoraRank = config.KvLoraRank,
            NopeDimension = config.NopeDimension,
            RopeDimension = config.RopeDimension,
            ValueDimension = config.ValueDimension,
            IntermediateSize = config.IntermediateSize,
            ExpertIntermediateSize = config.ExpertIntermediateSize,
            ExpertCount = config.ExpertCount,
            ExpertsPerToken = config.ExpertsPerToken,
            SharedExpertCount = config.SharedExpertCount,
            Parameters = parameters.Total,
            ActiveParameters = parameters.Active,
            RopeBase = config.RopeBase,
            Yarn = config.Yarn,
            ExpertWeightScale = config.ExpertWeightScale,
            RmsNormEpsilon = config.RmsNormEpsilon,
            LatentNormEpsilon = config.LatentNormEpsilon,
            Tokenizer = TokenizerOf(source),
            EosTokens = source.EosTokens,
            HasChatTemplate = source.ChatTemplate is not null,
            TensorCount = source.Tensors.Count,
            TensorBytesByType = source.Tensors.GroupBy(tensor => tensor.TypeName)
                .OrderBy(group => group.Key, StringComparer.Ordinal)
                .ToDictionary(group => group.Key, group => group.Sum(tensor => tensor.SizeBytes)),
            KvType = kvType,
            KvBytesPerToken = layout.BytesPerToken,
            KvBytesPer1KTokens = (long)layout.BytesPerToken * TokensOfLongUnit,
            KvBytesPerBlock = layout.BytesPerBlock,
            BlockTokens = layout.BlockTokens,
            Notes = source.Notes,
            Tensors = listsTensors
                ? [.. source.Tensors.Select(TensorDescription.Of)]
                : null,
        };
    }

    private static string? TokenizerOf(ModelSource source) => source.Vocabulary switch
    {
        GgufVocabularySource { Vocabulary: var inside } => $"{inside.Model}, {inside.Pre}",
        TiktokenVocabularySource beside => System.IO.Path.GetFileName(beside.Path),
        _ => null,
    };
}

/// <summary>One tensor; the last extent of the shape is the one that lies together in memory.</summary>
internal sealed record TensorDescription(string Name, string Type, IReadOnlyList<long> Shape, long Bytes, string File)
{
    public static TensorDescription Of(StoredTensor tensor) =>
        new(tensor.Name, tensor.TypeName, tensor.Shape, tensor.SizeBytes, tensor.File);
}
