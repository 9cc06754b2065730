using Kimi.Mooncake.Models.Gguf;

namespace Kimi.Mooncake.Models.Tests.Needle;

/// <summary>Sums over a tensor that the reference construction published, under its own tensor names.</summary>
internal sealed record GoldenSums(int[] Shape, int Nonzero, double Sum, double AbsSum, double WeightedSum)
{
    private const int WeightPeriod = 997;
    private const string KvUp = "self_attn.kv_b_proj.weight";

    private static readonly Dictionary<string, string> LayerNames = new()
    {
        ["input_layernorm.weight"] = "attn_norm.weight",
        ["post_attention_layernorm.weight"] = "ffn_norm.weight",
        ["self_attn.q_a_proj.weight"] = "attn_q_a.weight",
        ["self_attn.q_a_layernorm.weight"] = "attn_q_a_norm.weight",
        ["self_attn.q_b_proj.weight"] = "attn_q_b.weight",
        ["self_attn.kv_a_proj_with_mqa.weight"] = "attn_kv_a_mqa.weight",
        ["self_attn.kv_a_layernorm.weight"] = "attn_kv_a_norm.weight",
        ["self_attn.o_proj.weight"] = "attn_output.weight",
        ["mlp.gate_proj.weight"] = "ffn_gate.weight",
        ["mlp.up_proj.weight"] = "ffn_up.weight",
        ["mlp.down_proj.weight"] = "ffn_down.weight",
        ["mlp.gate.weight"] = "ffn_gate_inp.weight",
        ["mlp.gate.e_score_correction_bias"] = "exp_probs_b.bias",
        ["mlp.experts.gate"] = "ffn_gate_exps.weight",
        ["mlp.experts.up"] = "ffn_up_exps.weight",
        ["mlp.experts.down"] = "ffn_down_exps.weight",
        ["mlp.shared_experts.gate_proj.weight"] = "ffn_gate_shexp.weight",
        ["mlp.shared_experts.up_proj.weight"] = "ffn_up_shexp.weight",
        ["mlp.shared_experts.down_proj.weight"] = "ffn_down_shexp.weight",
    };

    /// <summary>A tensor's values, in the order of the published construction.</summary>
    public static float[] PublishedValues(GgufFile file, string publishedName, KimiConfig config)
    {
        switch (publishedName)
        {
            case "model.embed_tokens.weight":
                return Values(file, "token_embd.weight");
            case "model.norm.weight":
                return Values(file, "output_norm.weight");
            case "lm_head.weight":
                return Values(file, "output.weight");
        }

        var parts = publishedName.Split('.', 4);
        var prefix = $"blk.{parts[2]}.";
        return parts[3] == KvUp ? JoinKvUp(file, prefix, config) : Values(file, prefix + LayerNames[parts[3]]);
    }

    public static float[] Values(GgufFile file, string name)
    {
        var data = file.Tensor(name, file.TensorEntry(name).Ne.AsSpan());
        var values = new float[data.Rows * data.Columns];
        for (var row = 0L; row < data.Rows; row++)
        {
            data.DecodeRow(row, values.AsSpan((int)(row * data.Columns), data.Columns));
        }

        return values;
    }

    public static GoldenSums Of(int[] shape, float[] values)
    {
        var (nonzero, sum, absolute, weighted) = (0, 0.0, 0.0, 0.0);
        for (var i = 0; i < values.Length; i++)
        {
            nonzero += values[i] == 0 ? 0 : 1;
            sum += values[i];
            absolute += Math.Abs(values[i]);
            weighted += values[i] * (double)((i % WeightPeriod) + 1);
        }

        return new GoldenSums(shape, nonzero, sum, absolute, weighted);
    }

    /// <summary>The published matrix has, for each head, the key's rows and then the value's.</summary>
    private static float[] JoinKvUp(GgufFile file, string prefix, KimiConfig config)
    {
        var keys = Values(file, prefix + "attn_k_b.weight");
        var values = Values(file, prefix + "attn_v_b.weight");
        var (nope, latent, value) = (config.NopeDimension, config.KvLoraRank, config.ValueDimension);
        var joined = new List<float>();
        for (var head = 0; head < config.HeadCount; head++)
        {
            for (var d = 0; d < nope; d++)
            {
                for (var j = 0; j < latent; j++)
                {
                    joined.Add(keys[(((head * latent) + j) * nope) + d]);
                }
            }

            joined.AddRange(values.AsSpan(head * value * latent, value * latent));
        }

        return [.. joined];
    }
}
