using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models.Gguf;

namespace Kimi.Mooncake.Models.Needle;

/// <summary>Adds the parts of the built-in model to a file under GGUF's names, in the order of the file.</summary>
internal sealed class NeedleTensors(GgufWriter writer, TensorType type)
{
    public void AddVector(string name, double[] values) =>
        writer.AddTensor(name, TensorType.F32, [values.Length], (_, row) =>
        {
            for (var i = 0; i < values.Length; i++)
            {
                row[i] = (float)values[i];
            }
        });

    public void AddMatrix(string name, SparseMatrix matrix) => AddMatrix(name, matrix, type);

    public void AddAttention(int layer, AttentionWeights attention, NormInput feedForwardInput)
    {
        var prefix = $"blk.{layer}.";
        AddVector(prefix + "attn_norm.weight", attention.Input.Gains);
        AddVector(prefix + "ffn_norm.weight", feedForwardInput.Gains);
        AddMatrix(prefix + "attn_q_a.weight", attention.QueryDown);
        AddVector(prefix + "attn_q_a_norm.weight", attention.QueryGains);
        AddMatrix(prefix + "attn_q_b.weight", attention.QueryUp);
        AddMatrix(prefix + "attn_kv_a_mqa.weight", attention.KvDown);
        AddVector(prefix + "attn_kv_a_norm.weight", attention.KvGains);
        AddMatrix(prefix + "attn_output.weight", attention.Output);
        AddStack(prefix + "attn_k_b.weight", attention.KeyUp, NeedleShape.Heads);
        AddStack(prefix + "attn_v_b.weight", attention.ValueUp, NeedleShape.Heads);
    }

    public void AddDense(int layer, FeedForwardWeights network)
    {
        var prefix = $"blk.{layer}.";
        AddMatrix(prefix + "ffn_gate.weight", network.Gate);
        AddMatrix(prefix + "ffn_up.weight", network.Up);
        AddMatrix(prefix + "ffn_down.weight", network.Down);
    }

    public void AddExperts(int layer, ExpertWeights experts)
    {
        var prefix = $"blk.{layer}.";
        AddMatrix(prefix + "ffn_gate_inp.weight", experts.Router, TensorType.F32);
        AddVector(prefix + "exp_probs_b.bias", ExpertWeights.SelectionBias);
        foreach (var (name, part) in new (string, Func<FeedForwardWeights, SparseMatrix>)[]
        {
            ("gate", network => network.Gate), ("up", network => network.Up), ("down", network => network.Down),
        })
        {
            AddStack($"{prefix}ffn_{name}_exps.weight", [.. experts.Experts.Select(part)]);
            AddMatrix($"{prefix}ffn_{name}_shexp.weight", part(experts.Shared));
        }
    }

    private void AddMatrix(string name, SparseMatrix matrix, TensorType encoding) =>
        writer.AddTensor(name, encoding, [matrix.Columns, matrix.Rows], matrix.FillRow);

    /// <summary>A matrix whose rows are <paramref name="count"/> matrices one after another.</summary>
    private void AddStack(string name, SparseMatrix matrix, int count) =>
        writer.AddTensor(name, type, [matrix.Columns, matrix.Rows / count, count], matrix.FillRow);

    private void AddStack(string name, SparseMatrix[] matrices)
    {
        var (columns, rows) = (matrices[0].Columns, matrices[0].Rows);
        writer.AddTensor(name, type, [columns, rows, matrices.Length], (row, values) =>
            matrices[row / rows].FillRow(row % rows, values));
    }
}
