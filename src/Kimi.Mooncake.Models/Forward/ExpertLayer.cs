using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models;

/// <summary>The mixture of experts of a forward pass: each row chooses, then the chosen ones are computed.</summary>
internal sealed class ExpertLayer : IDisposable
{
    private readonly KimiConfig _config;
    private readonly IKernels _kernels;
    private readonly Matrix _routerLogits;
    private readonly int[] _chosen;
    private readonly float[] _weights;

    public ExpertLayer(KimiConfig config, IKernels kernels, int rowsMax)
    {
        _config = config;
        _kernels = kernels;
        _routerLogits = new Matrix(rowsMax, config.ExpertCount);
        _chosen = new int[rowsMax * config.ExpertsPerToken];
        _weights = new float[rowsMax * config.ExpertsPerToken];
    }

    /// <summary>Adds the experts' output for each row of <paramref name="x"/> to <paramref name="residual"/>.</summary>
    public void Forward(in MatrixView x, ExpertWeights weights, ExpertRouter router, in MatrixView residual)
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

        var count = x.Rows * perToken;
        _kernels.MixtureOfExperts(x, weights.Bank, _chosen.AsSpan(0, count), _weights.AsSpan(0, count), residual);
    }

    /// <summary>The experts that the last pass chose for its first rows, row after row.</summary>
    public ReadOnlySpan<int> Chosen(int rows) => _chosen.AsSpan(0, rows * _config.ExpertsPerToken);

    public void Dispose() => _routerLogits.Dispose();
}
