using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models;

/// <summary>
/// Counts the stored bytes that forward passes multiply with, each tensor once for a pass: what memory must give where
/// no cache holds the weights. Routed experts count where they were chosen.
/// </summary>
internal sealed class StepTraffic
{
    private readonly long _always;
    private readonly long _embeddingRow;
    private readonly long[][] _experts;
    private readonly bool[] _chosen;

    /// <param name="source">The model whose tensors are counted as they are stored.</param>
    public StepTraffic(ModelSource source)
    {
        var config = source.Config;
        var embedding = source.Tensor(TensorRole.Embedding);
        _embeddingRow = embedding.StoredBytes / embedding.Rows;
        _experts = new long[config.LayerCount][];
        _chosen = new bool[config.ExpertCount];
        for (var layer = 0; layer < config.LayerCount; layer++)
        {
            _experts[layer] = new long[layer < config.DenseLayerCount ? 0 : config.ExpertCount];
            _always += ProjectionBytes(source.AttentionUp(layer, config.AttentionShape));
        }

        foreach (var (role, layer, expert) in KimiTensors.All(config))
        {
            if (role == TensorRole.Embedding)
            {
                continue;
            }

            var bytes = source.Tensor(role, layer, expert).StoredBytes;
            if (expert >= 0)
            {
                _experts[layer][expert] += bytes;
            }
            else
            {
                _always += bytes;
            }
        }
    }

    /// <summary>Bytes counted so far.</summary>
    public long Bytes { get; private set; }

    /// <summary>Counts what a pass of so many tokens takes whatever it chooses.</summary>
    public void CountPass(int rows) => Bytes += _always + (rows * _embeddingRow);

    /// <summary>Counts the experts that the tokens of a pass chose in a layer.</summary>
    public void CountExperts(int layer, ReadOnlySpan<int> chosen)
    {
        Array.Clear(_chosen);
        foreach (var expert in chosen)
        {
            if (!_chosen[expert])
            {
                _chosen[expert] = true;
                Bytes += _experts[layer][expert];
            }
        }
    }

    private static long ProjectionBytes(AttentionProjections projections)
    {
        var bytes = 0L;
        for (var head = 0; head < projections.Shape.HeadCount; head++)
        {
            bytes += projections.Key(head).StoredBytes + projections.Value(head).StoredBytes;
        }

        return bytes;
    }
}
