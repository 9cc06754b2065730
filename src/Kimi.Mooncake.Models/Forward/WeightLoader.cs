using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models;

/// <summary>Brings the tensors of a model, each with its due shape, into a kernel set's form.</summary>
internal sealed class WeightLoader(ModelSource source, IKernels kernels, IProgress<LoadProgress>? progress)
{
    private readonly KimiConfig _config = source.Config;
    private int _tensors;
    private long _bytes;

    public TensorData Embedding() => Stored(TensorRole.Embedding);

    public float[] OutputNorm() => Vector(TensorRole.OutputNorm);

    public LinearWeight OutputHead() => Linear(TensorRole.OutputHead);

    public LayerWeights Layer(int layer)
    {
        var direct = _config.QueryLoraRank == 0;
        var dense = layer < _config.DenseLayerCount;
        var weights = new LayerWeights
        {
            AttentionNorm = Vector(TensorRole.AttentionNorm, layer),
            FeedForwardNorm = Vector(TensorRole.FeedForwardNorm, layer),
            QueryDown = direct ? null : Linear(TensorRole.QueryDown, layer),
            QueryLatentNorm = direct ? [] : Vector(TensorRole.QueryLatentNorm, layer),
            QueryUp = Linear(TensorRole.QueryUp, layer),
            KvDown = Linear(TensorRole.KvDown, layer),
            KvLatentNorm = Vector(TensorRole.KvLatentNorm, layer),
            KvUp = kernels.PackAttention(source.AttentionUp(layer, _config.AttentionShape)),
            Output = Linear(TensorRole.AttentionOutput, layer),
            Dense = dense ? FeedForward(layer, TensorRole.Gate, TensorRole.Up, TensorRole.Down) : null,
            Experts = dense ? null : Experts(layer),
        };
        progress?.Report(new LoadProgress(layer + 1, _config.LayerCount, _tensors, _bytes));
        return weights;
    }

    private FeedForwardWeight FeedForward(
        int layer, TensorRole gate, TensorRole up, TensorRole down, int expert = -1) => new(
        Linear(gate, layer, expert), Linear(up, layer, expert), Linear(down, layer, expert));

    private ExpertWeights Experts(int layer)
    {
        var experts = new FeedForwardWeight[_config.ExpertCount];
        for (var e = 0; e < experts.Length; e++)
        {
            experts[e] = FeedForward(
                layer, TensorRole.ExpertGate, TensorRole.ExpertUp, TensorRole.ExpertDown, e);
        }

        return new ExpertWeights(
            Linear(TensorRole.Router, layer),
            Vector(TensorRole.RouterBias, layer),
            new ExpertBank(
                experts,
                _config.SharedExpertCount == 0
                    ? null
                    : FeedForward(layer, TensorRole.SharedGate, TensorRole.SharedUp, TensorRole.SharedDown)));
    }

    private LinearWeight Linear(TensorRole role, int layer = -1, int expert = -1) =>
        kernels.Pack(Stored(role, layer, expert), IsPrecise(role));

    /// <summary>
    /// Projections that make queries and cached values: small ones, whose inputs' rounding is half of what rounding
    /// products of bfloat16 costs in accuracy.
    /// </summary>
    private static bool IsPrecise(TensorRole role) =>
        role is TensorRole.QueryDown or TensorRole.QueryUp or TensorRole.KvDown;

    private TensorData Stored(TensorRole role, int layer = -1, int expert = -1)
    {
        var stored = source.Tensor(role, layer, expert);
        _tensors++;
        _bytes += TensorData.SizeBytes(stored.Type, stored.Rows, stored.Columns);
        return stored;
    }

    private float[] Vector(TensorRole role, int layer = -1)
    {
        var stored = Stored(role, layer);
        var values = new float[stored.Columns];
        stored.DecodeRow(0, values);
        return values;
    }
}
