using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models.Gguf;

namespace Kimi.Mooncake.Models;

/// <summary>
/// Brings the tensors of a GGUF file into a kernel set's form, checking each shape against the configuration
/// (names: llama.cpp's <c>deepseek2</c> with separate <c>attn_k_b</c> and <c>attn_v_b</c>).
/// </summary>
internal sealed class WeightLoader(GgufFile file, KimiConfig config, IKernels kernels)
{
    public TensorData Embedding() => file.Tensor("token_embd.weight", config.HiddenSize, config.VocabularySize);

    public float[] OutputNorm() => Vector("output_norm.weight", config.HiddenSize);

    public LinearWeight OutputHead() => Linear("output.weight", config.HiddenSize, config.VocabularySize);

    public LayerWeights Layer(int layer)
    {
        var prefix = $"blk.{layer}.";
        var hidden = config.HiddenSize;
        var queries = config.HeadCount * (config.NopeDimension + config.RopeDimension);
        var direct = config.QueryLoraRank == 0;
        var dense = layer < config.DenseLayerCount;
        return new LayerWeights
        {
            AttentionNorm = Vector(prefix + "attn_norm.weight", hidden),
            FeedForwardNorm = Vector(prefix + "ffn_norm.weight", hidden),
            QueryDown = direct ? null : Linear(prefix + "attn_q_a.weight", hidden, config.QueryLoraRank),
            QueryLatentNorm = direct ? [] : Vector(prefix + "attn_q_a_norm.weight", config.QueryLoraRank),
            QueryUp = direct
                ? Linear(prefix + "attn_q.weight", hidden, queries)
                : Linear(prefix + "attn_q_b.weight", config.QueryLoraRank, queries),
            KvDown = Linear(prefix + "attn_kv_a_mqa.weight", hidden, config.KvLoraRank + config.RopeDimension),
            KvLatentNorm = Vector(prefix + "attn_kv_a_norm.weight", config.KvLoraRank),
            KvUp = KvUp(prefix),
            Output = Linear(prefix + "attn_output.weight", config.HeadCount * config.ValueDimension, hidden),
            Dense = dense ? FeedForward(prefix, "", config.IntermediateSize) : null,
            Experts = dense ? null : Experts(prefix),
        };
    }

    private AttentionWeight KvUp(string prefix)
    {
        var shape = new AttentionShape(
            config.HeadCount,
            config.NopeDimension,
            config.RopeDimension,
            config.ValueDimension,
            config.KvLoraRank,
            config.AttentionScale);
        var keyUp = file.Tensor(prefix + "attn_k_b.weight", config.NopeDimension, config.KvLoraRank, config.HeadCount);
        var valueUp = file.Tensor(
            prefix + "attn_v_b.weight", config.KvLoraRank, config.ValueDimension, config.HeadCount);
        return kernels.PackAttention(shape, keyUp, valueUp);
    }

    private FeedForwardWeights FeedForward(string prefix, string suffix, int width) => new(
        Linear($"{prefix}ffn_gate{suffix}.weight", config.HiddenSize, width),
        Linear($"{prefix}ffn_up{suffix}.weight", config.HiddenSize, width),
        Linear($"{prefix}ffn_down{suffix}.weight", width, config.HiddenSize));

    private ExpertWeights Experts(string prefix)
    {
        var width = config.ExpertIntermediateSize;
        var count = config.ExpertCount;
        var gate = file.Tensor(prefix + "ffn_gate_exps.weight", config.HiddenSize, width, count);
        var up = file.Tensor(prefix + "ffn_up_exps.weight", config.HiddenSize, width, count);
        var down = file.Tensor(prefix + "ffn_down_exps.weight", width, config.HiddenSize, count);
        var experts = new FeedForwardWeights[count];
        for (var e = 0; e < count; e++)
        {
            experts[e] = new FeedForwardWeights(
                kernels.Pack(gate.Slice((long)e * width, width)),
                kernels.Pack(up.Slice((long)e * width, width)),
                kernels.Pack(down.Slice((long)e * config.HiddenSize, config.HiddenSize)));
        }

        return new ExpertWeights(
            Linear(prefix + "ffn_gate_inp.weight", config.HiddenSize, count),
            Vector(prefix + "exp_probs_b.bias", count),
            experts,
            config.SharedExpertCount == 0 ? null : FeedForward(prefix, "_shexp", width * config.SharedExpertCount));
    }

    private LinearWeight Linear(string name, int inputs, int outputs) =>
        kernels.Pack(file.Tensor(name, inputs, outputs));

    private float[] Vector(string name, int length)
    {
        var values = new float[length];
        file.Tensor(name, length).DecodeRow(0, values);
        return values;
    }
}
