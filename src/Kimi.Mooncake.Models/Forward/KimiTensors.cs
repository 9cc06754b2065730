using System.Globalization;
using Kimi.Mooncake.Models.Gguf;

namespace Kimi.Mooncake.Models;

/// <summary>
/// The tensors that a configuration calls for, with their dimensions, the fastest first (names: llama.cpp's
/// <c>deepseek2</c> with separate <c>attn_k_b</c> and <c>attn_v_b</c>).
/// </summary>
public sealed class KimiTensors
{
    private const string LayerPrefix = "blk.";

    private readonly KimiConfig _config;
    private readonly Dictionary<string, long[]> _shapes = new(StringComparer.Ordinal);

    /// <summary>Lists the tensors of a configuration.</summary>
    public KimiTensors(KimiConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        _config = config;
        _shapes["token_embd.weight"] = [config.HiddenSize, config.VocabularySize];
        _shapes["output_norm.weight"] = [config.HiddenSize];
        _shapes["output.weight"] = [config.HiddenSize, config.VocabularySize];
        for (var layer = 0; layer < config.LayerCount; layer++)
        {
            AddLayer($"{LayerPrefix}{layer}.", isDense: layer < config.DenseLayerCount);
        }
    }

    /// <summary>Dimensions of a tensor.</summary>
    /// <exception cref="KeyNotFoundException">The configuration has no such tensor.</exception>
    public ReadOnlySpan<long> ShapeOf(string name) => _shapes[name];

    /// <summary>
    /// Verifies that a file has every tensor with its dimensions, whatever its type, and no layer beyond the last.
    /// </summary>
    /// <exception cref="ModelFileException">It has not; the message names the tensor.</exception>
    public void Check(GgufFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        foreach (var (name, ne) in _shapes)
        {
            file.RequireShape(name, ne);
        }

        foreach (var tensor in file.Tensors)
        {
            if (LayerOf(tensor.Name) >= _config.LayerCount)
            {
                throw ModelFileException.AtTensor(
                    file.Path, tensor.Name, $"lies beyond the {_config.LayerCount} layers of the configuration");
            }
        }
    }

    private static int LayerOf(string name)
    {
        if (!name.StartsWith(LayerPrefix, StringComparison.Ordinal))
        {
            return -1;
        }

        var digits = name.AsSpan(LayerPrefix.Length);
        var dot = digits.IndexOf('.');
        return dot > 0 && int.TryParse(digits[..dot], NumberStyles.None, CultureInfo.InvariantCulture, out var layer)
            ? layer
            : -1;
    }

    private void AddLayer(string prefix, bool isDense)
    {
        var hidden = _config.HiddenSize;
        var heads = _config.HeadCount;
        long queries = heads * (_config.NopeDimension + _config.RopeDimension);
        _shapes[prefix + "attn_norm.weight"] = [hidden];
        _shapes[prefix + "ffn_norm.weight"] = [hidden];
        if (_config.QueryLoraRank == 0)
        {
            _shapes[prefix + "attn_q.weight"] = [hidden, queries];
        }
        else
        {
            _shapes[prefix + "attn_q_a.weight"] = [hidden, _config.QueryLoraRank];
            _shapes[prefix + "attn_q_a_norm.weight"] = [_config.QueryLoraRank];
            _shapes[prefix + "attn_q_b.weight"] = [_config.QueryLoraRank, queries];
        }

        _shapes[prefix + "attn_kv_a_mqa.weight"] = [hidden, _config.KvLoraRank + _config.RopeDimension];
        _shapes[prefix + "attn_kv_a_norm.weight"] = [_config.KvLoraRank];
        _shapes[prefix + "attn_k_b.weight"] = [_config.NopeDimension, _config.KvLoraRank, heads];
        _shapes[prefix + "attn_v_b.weight"] = [_config.KvLoraRank, _config.ValueDimension, heads];
        _shapes[prefix + "attn_output.weight"] = [heads * _config.ValueDimension, hidden];
        if (isDense)
        {
            AddFeedForward(prefix, "", _config.IntermediateSize);
        }
        else
        {
            AddExperts(prefix);
        }
    }

    private void AddExperts(string prefix)
    {
        var hidden = _config.HiddenSize;
        var width = _config.ExpertIntermediateSize;
        var count = _config.ExpertCount;
        _shapes[prefix + "ffn_gate_inp.weight"] = [hidden, count];
        _shapes[prefix + "exp_probs_b.bias"] = [count];
        _shapes[prefix + "ffn_gate_exps.weight"] = [hidden, width, count];
        _shapes[prefix + "ffn_up_exps.weight"] = [hidden, width, count];
        _shapes[prefix + "ffn_down_exps.weight"] = [width, hidden, count];
        if (_config.SharedExpertCount > 0)
        {
            AddFeedForward(prefix, "_shexp", width * _config.SharedExpertCount);
        }
    }

    private void AddFeedForward(string prefix, string suffix, int width)
    {
        _shapes[$"{prefix}ffn_gate{suffix}.weight"] = [_config.HiddenSize, width];
        _shapes[$"{prefix}ffn_up{suffix}.weight"] = [_config.HiddenSize, width];
        _shapes[$"{prefix}ffn_down{suffix}.weight"] = [width, _config.HiddenSize];
    }
}
