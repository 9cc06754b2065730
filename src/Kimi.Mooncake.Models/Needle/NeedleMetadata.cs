using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models.Gguf;

namespace Kimi.Mooncake.Models.Needle;

/// <summary>The metadata of the built-in model's file, in the order that readers and comparisons rely on.</summary>
internal static class NeedleMetadata
{
    private const string Prefix = GgufKimiConfig.Architecture + ".";
    private const uint QuantizationVersion = 2;
    private const uint GatingSigmoid = 2;

    public static void AddTo(GgufWriter writer, TensorType type)
    {
        writer.Add("general.architecture", GgufKimiConfig.Architecture);
        writer.Add("general.type", "model");
        writer.Add("general.name", NeedleModel.Config.Name);
        writer.Add("general.quantization_version", QuantizationVersion);
        writer.Add("general.file_type", FileType(type));
        AddAttention(writer, NeedleModel.Config);
        AddExperts(writer, NeedleModel.Config);
        AddVocabulary(writer);
    }

    private static uint FileType(TensorType type) => type switch
    {
        TensorType.F32 => 0,
        TensorType.F16 => 1,
        _ => 32,
    };

    private static void AddAttention(GgufWriter writer, KimiConfig config)
    {
        Add(writer, "block_count", config.LayerCount);
        Add(writer, "context_length", config.ContextLength);
        Add(writer, "embedding_length", config.HiddenSize);
        Add(writer, "feed_forward_length", config.IntermediateSize);
        Add(writer, "attention.head_count", config.HeadCount);
        Add(writer, "attention.head_count_kv", 1);
        writer.Add(Prefix + "rope.scaling.type", "yarn");
        writer.Add(Prefix + "rope.scaling.factor", (float)config.Yarn!.Factor);
        Add(writer, "rope.scaling.original_context_length", config.Yarn.OriginalContextLength);
        writer.Add(Prefix + "rope.scaling.yarn_beta_fast", (float)config.Yarn.BetaFast);
        writer.Add(Prefix + "rope.scaling.yarn_beta_slow", (float)config.Yarn.BetaSlow);
        writer.Add(Prefix + "rope.scaling.yarn_log_multiplier", (float)config.Yarn.LogMultiplier);
        writer.Add(Prefix + "rope.freq_base", (float)config.RopeBase);
        Add(writer, "rope.dimension_count", config.RopeDimension);
        writer.Add(Prefix + "attention.layer_norm_rms_epsilon", config.RmsNormEpsilon);
    }

    private static void AddExperts(GgufWriter writer, KimiConfig config)
    {
        Add(writer, "expert_count", config.ExpertCount);
        Add(writer, "expert_used_count", config.ExpertsPerToken);
        Add(writer, "expert_group_count", config.ExpertGroupCount);
        Add(writer, "expert_group_used_count", config.ExpertGroupsPerToken);
        writer.Add(Prefix + "expert_gating_func", GatingSigmoid);
        Add(writer, "leading_dense_block_count", config.DenseLayerCount);
        Add(writer, "vocab_size", config.VocabularySize);
        Add(writer, "attention.q_lora_rank", config.QueryLoraRank);
        Add(writer, "attention.kv_lora_rank", config.KvLoraRank);
        Add(writer, "attention.key_length", config.KvLoraRank + config.RopeDimension);
        Add(writer, "attention.value_length", config.KvLoraRank);
        Add(writer, "attention.key_length_mla", config.NopeDimension + config.RopeDimension);
        Add(writer, "attention.value_length_mla", config.ValueDimension);
        Add(writer, "expert_feed_forward_length", config.ExpertIntermediateSize);
        Add(writer, "expert_shared_count", config.SharedExpertCount);
        writer.Add(Prefix + "expert_weights_scale", config.ExpertWeightScale);
        writer.Add(Prefix + "expert_weights_norm", config.NormalizeExpertWeights);
    }

    private static void AddVocabulary(GgufWriter writer)
    {
        writer.Add("tokenizer.ggml.model", "gpt2");
        writer.Add("tokenizer.ggml.pre", "kimi-k2");
        writer.Add("tokenizer.ggml.tokens", NeedleVocabulary.Tokens);
        int[] types =
        [
            .. Enumerable.Repeat(NeedleVocabulary.NormalType, NeedleVocabulary.ByteCount),
            .. Enumerable.Repeat(NeedleVocabulary.ControlType, NeedleVocabulary.Specials.Length),
        ];
        writer.Add("tokenizer.ggml.token_type", types);
        writer.Add("tokenizer.ggml.merges", NeedleVocabulary.Merges);
        foreach (var (name, token) in new[]
        {
            ("bos", "[BOS]"), ("eos", NeedleVocabulary.MessageEnd), ("eot", NeedleVocabulary.MessageEnd),
            ("unknown", "[UNK]"), ("padding", "[PAD]"),
        })
        {
            writer.Add($"tokenizer.ggml.{name}_token_id", (uint)NeedleVocabulary.IdOf(token));
        }

        writer.Add("tokenizer.ggml.add_bos_token", false);
        writer.Add("tokenizer.chat_template", NeedleVocabulary.ChatTemplate);
    }

    private static void Add(GgufWriter writer, string key, int value) => writer.Add(Prefix + key, (uint)value);
}
