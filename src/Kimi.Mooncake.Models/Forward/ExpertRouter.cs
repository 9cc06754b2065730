using System.Numerics.Tensors;

namespace Kimi.Mooncake.Models;

/// <summary>
/// Chooses experts for one token as DeepSeek-V3 does (<c>noaux_tc</c>): sigmoid scores; the selection bias decides who
/// is chosen and never how much they weigh; chosen weights are normalised and scaled. Ties go to the lower index.
/// </summary>
internal sealed class ExpertRouter(KimiConfig config, float[] selectionBias)
{
    // The sum's guard of the published code; sigmoid scores of chosen experts are far above it.
    private const float NormalizationGuard = 1e-20f;

    private readonly float[] _scores = new float[config.ExpertCount];
    private readonly float[] _choice = new float[config.ExpertCount];
    private readonly float[] _groupScores = new float[config.ExpertGroupCount];

    /// <summary>Chooses <see cref="KimiConfig.ExpertsPerToken"/> experts.</summary>
    /// <param name="logits">Router output, one value for each expert.</param>
    /// <param name="experts">Receives the chosen experts, best first.</param>
    /// <param name="weights">Receives their weights.</param>
    public void Route(ReadOnlySpan<float> logits, Span<int> experts, Span<float> weights)
    {
        TensorPrimitives.Sigmoid(logits, _scores);
        TensorPrimitives.Add(_scores, selectionBias, _choice);

        if (config.ExpertGroupCount > 1)
        {
            KeepBestGroups();
        }

        var sum = 0f;
        for (var j = 0; j < experts.Length; j++)
        {
            var best = TensorPrimitives.IndexOfMax(_choice);
            experts[j] = best;
            weights[j] = _scores[best];
            sum += _scores[best];
            _choice[best] = float.NegativeInfinity;
        }

        var factor = config.NormalizeExpertWeights
            ? config.ExpertWeightScale / (sum + NormalizationGuard)
            : config.ExpertWeightScale;
        for (var j = 0; j < weights.Length; j++)
        {
            weights[j] *= factor;
        }
    }

    /// <summary>A group counts by its two best experts; those of groups not among the best are out.</summary>
    private void KeepBestGroups()
    {
        var size = config.ExpertCount / config.ExpertGroupCount;
        for (var g = 0; g < _groupScores.Length; g++)
        {
            float first = float.NegativeInfinity, second = float.NegativeInfinity;
            foreach (var value in _choice.AsSpan(g * size, size))
            {
                if (value > first)
                {
                    (first, second) = (value, first);
                }
                else if (value > second)
                {
                    second = value;
                }
            }

            _groupScores[g] = first + second;
        }

        for (var dropped = config.ExpertGroupCount - config.ExpertGroupsPerToken; dropped > 0; dropped--)
        {
            var worst = IndexOfLastMin(_groupScores);
            _groupScores[worst] = float.PositiveInfinity;
            _choice.AsSpan(worst * size, size).Fill(float.NegativeInfinity);
        }
    }

    private static int IndexOfLastMin(ReadOnlySpan<float> values)
    {
        var worst = 0;
        for (var i = 1; i < values.Length; i++)
        {
            if (values[i] <= values[worst])
            {
                worst = i;
            }
        }

        return worst;
    }
}
