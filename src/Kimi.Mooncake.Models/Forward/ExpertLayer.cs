using System.Numerics.Tensors;
using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models;

/// <summary>
/// The mixture of experts of one forward pass. Tokens are grouped by expert, and every token's contributions are added
/// in ascending order of the expert, so that a row does not depend on what else is in the batch.
/// </summary>
internal sealed class ExpertLayer : IDisposable
{
    private readonly KimiConfig _config;
    private readonly IKernels _kernels;
    private readonly Matrix _routerLogits;
    private readonly Matrix _gathered;
    private readonly Matrix _gate;
    private readonly Matrix _up;
    private readonly Matrix _down;
    private readonly int[] _chosen;
    private readonly float[] _weights;
    private readonly int[] _rowsOfExpert;
    private readonly float[] _weightsOfExpert;

    public ExpertLayer(KimiConfig config, IKernels kernels, int rowsMax)
    {
        _config = config;
        _kernels = kernels;
        var width = config.ExpertIntermediateSize * Math.Max(1, config.SharedExpertCount);
        _routerLogits = new Matrix(rowsMax, config.ExpertCount);
        _gathered = new Matrix(rowsMax, config.HiddenSize);
        _gate = new Matrix(rowsMax, width);
        _up = new Matrix(rowsMax, width);
        _down = new Matrix(rowsMax, config.HiddenSize);
        _chosen = new int[rowsMax * config.ExpertsPerToken];
        _weights = new float[rowsMax * config.ExpertsPerToken];
        _rowsOfExpert = new int[rowsMax];
        _weightsOfExpert = new float[rowsMax];
    }

    /// <summary>Adds the experts' output for each row of <paramref name="x"/> to <paramref name="residual"/>.</summary>
    public void Forward(in MatrixView x, ExpertWeights weights, ExpertRouter router, in MatrixView residual)
    {
        Route(x, weights, router);
        for (var e = 0; e < weights.Experts.Length; e++)
        {
            var count = RowsOf(e, x.Rows);
            if (count == 0)
            {
                continue;
            }

            var input = _gathered.View(count);
            for (var i = 0; i < count; i++)
            {
                x.Row(_rowsOfExpert[i]).CopyTo(input.Row(i));
            }

            var output = Apply(weights.Experts[e], input, _config.ExpertIntermediateSize);
            for (var i = 0; i < count; i++)
            {
                var target = residual.Row(_rowsOfExpert[i]);
                TensorPrimitives.MultiplyAdd(output.Row(i), _weightsOfExpert[i], target, target);
            }
        }

        if (weights.Shared is { } shared)
        {
            var width = _config.ExpertIntermediateSize * _config.SharedExpertCount;
            _kernels.Add(Apply(shared, x, width), residual);
        }
    }

    public void Dispose()
    {
        _routerLogits.Dispose();
        _gathered.Dispose();
        _gate.Dispose();
        _up.Dispose();
        _down.Dispose();
    }

    private void Route(in MatrixView x, ExpertWeights weights, ExpertRouter router)
    {
        var logits = _routerLogits.View(x.Rows);
        _kernels.MatMul(x, weights.Router, logits);
        var perToken = _config.ExpertsPerToken;
        for (var row = 0; row < x.Rows; row++)
        {
            router.Route(
                logits.Row(row),
                _chosen.AsSpan(row * perToken, perToken),
                _weights.AsSpan(row * perToken, perToken));
        }
    }

    private int RowsOf(int expert, int rowCount)
    {
        var perToken = _config.ExpertsPerToken;
        var count = 0;
        for (var row = 0; row < rowCount; row++)
        {
            var place = _chosen.AsSpan(row * perToken, perToken).IndexOf(expert);
            if (place >= 0)
            {
                _rowsOfExpert[count] = row;
                _weightsOfExpert[count++] = _weights[(row * perToken) + place];
            }
        }

        return count;
    }

    private MatrixView Apply(FeedForwardWeights weights, in MatrixView x, int width)
    {
        var gate = _gate.View(x.Rows, width);
        var up = _up.View(x.Rows, width);
        var down = _down.View(x.Rows);
        _kernels.MatMul(x, weights.Gate, gate);
        _kernels.MatMul(x, weights.Up, up);
        _kernels.SwiGlu(gate, up);
        _kernels.MatMul(gate, weights.Down, down);
        return down;
    }
}
