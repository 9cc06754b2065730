using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models;

/// <summary>YaRN scaling of rotary frequencies (arXiv 2309.00071), as DeepSeek-V3 applies it.</summary>
/// <param name="Factor">Context extension factor, above 1.</param>
/// <param name="OriginalContextLength">Context length before extension, tokens.</param>
/// <param name="BetaFast">Rotations above which a pair is not scaled.</param>
/// <param name="BetaSlow">Rotations below which a pair is scaled by the whole factor.</param>
/// <param name="LogMultiplier">0.1 times <c>mscale_all_dim</c>.</param>
/// <param name="RotationScale">
/// Factor of the rotated values of queries and keys: the magnitude correction by <c>mscale</c> over that by
/// <c>mscale_all_dim</c>, which is 1 where both are the same.
/// </param>
public sealed record YarnScaling(
    double Factor,
    int OriginalContextLength,
    double BetaFast,
    double BetaSlow,
    double LogMultiplier,
    double RotationScale = 1);

/// <summary>
/// The dimensions and constants of a DeepSeek-V3 / Kimi-K2 text network. Every value comes from the model's own file.
/// </summary>
public sealed record KimiConfig
{
    private const int RowPadding = 64;

    /// <summary>Name that the file gives itself.</summary>
    public required string Name { get; init; }

    /// <summary>Number of token ids.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Most positions.</summary>
    public required int ContextLength { get; init; }

    /// <summary>Values of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Transformer layers.</summary>
    public required int LayerCount { get; init; }

    /// <summary>Leading layers with a dense feed-forward network instead of experts.</summary>
    public required int DenseLayerCount { get; init; }

    /// <summary>Query heads.</summary>
    public required int HeadCount { get; init; }

    /// <summary>Rank of the query's low-rank projection; 0 where queries are projected directly.</summary>
    public required int QueryLoraRank { get; init; }

    /// <summary>Values of the cached latent.</summary>
    public required int KvLoraRank { get; init; }

    /// <summary>Unrotated values of a head's query and key.</summary>
    public required int NopeDimension { get; init; }

    /// <summary>Rotated values of a head's query and of the shared key.</summary>
    public required int RopeDimension { get; init; }

    /// <summary>Values of a head's output.</summary>
    public required int ValueDimension { get; init; }

    /// <summary>Width of the dense feed-forward network.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>Width of one expert; 0 in a model without experts.</summary>
    public required int ExpertIntermediateSize { get; init; }

    /// <summary>Routed experts; 0 in a model without experts.</summary>
    public required int ExpertCount { get; init; }

    /// <summary>Experts chosen for each token.</summary>
    public required int ExpertsPerToken { get; init; }

    /// <summary>Shared experts, stored as one network of this many expert widths.</summary>
    public required int SharedExpertCount { get; init; }

    /// <summary>Groups of experts for group-limited routing; 1 is plain routing.</summary>
    public required int ExpertGroupCount { get; init; }

    /// <summary>Groups that a token may choose from.</summary>
    public required int ExpertGroupsPerToken { get; init; }

    /// <summary>Factor of the routed experts' weights.</summary>
    public required float ExpertWeightScale { get; init; }

    /// <summary>Whether a token's expert weights are divided by their sum.</summary>
    public required bool NormalizeExpertWeights { get; init; }

    /// <summary>Epsilon of the layer norms.</summary>
    public required float RmsNormEpsilon { get; init; }

    /// <summary>Epsilon of the query and key latents' norms.</summary>
    public required float LatentNormEpsilon { get; init; }

    /// <summary>Base of the rotary frequencies.</summary>
    public required double RopeBase { get; init; }

    /// <summary>YaRN scaling; null where the file has none.</summary>
    public YarnScaling? Yarn { get; init; }

    /// <summary>
    /// Factor of the attention scores: <c>(nope + rope)^-0.5</c>, times the square of YaRN's magnitude correction.
    /// </summary>
    public float AttentionScale
    {
        get
        {
            var magnitude = Yarn is null ? 1.0 : (Yarn.LogMultiplier * Math.Log(Yarn.Factor)) + 1.0;
            return (float)(magnitude * magnitude / Math.Sqrt(NopeDimension + RopeDimension));
        }
    }

    /// <summary>Dimensions of attention in each layer.</summary>
    public AttentionShape AttentionShape =>
        new(HeadCount, NopeDimension, RopeDimension, ValueDimension, KvLoraRank, AttentionScale);

    /// <summary>Radians per position of each rotated pair, <c>RopeDimension / 2</c> values.</summary>
    public double[] RopeFrequencies() => [.. Frequencies()];

    /// <summary>
    /// What is wrong with values that are each in range but too large or not numbers together; null where nothing is.
    /// </summary>
    internal string? Fault() => SizeFault() ?? ScalingFault();

    /// <summary>What is wrong with the sizes together; null where nothing is.</summary>
    internal string? SizeFault()
    {
        // Rows of matrices are rounded up in 32 bits.
        const long ValuesMax = int.MaxValue - RowPadding;

        // No KV type takes more than singles.
        var latent = (long)KvLoraRank + RopeDimension;
        (string What, Int128 Size, long Max)[] sizes =
        [
            ("heads times values of a head's query", HeadCount * ((long)NopeDimension + RopeDimension), ValuesMax),
            ("heads times values of a head's output", (long)HeadCount * ValueDimension, ValuesMax),
            ("heads times values of a head's keys and values",
                HeadCount * ((long)NopeDimension + ValueDimension), ValuesMax),
            ("heads times values of a cached token", HeadCount * (latent + RowPadding), ValuesMax),
            ("shared experts times the width of one", (long)SharedExpertCount * ExpertIntermediateSize, ValuesMax),
            ("bytes of a block of cached tokens",
                (Int128)latent * sizeof(float) * KvLayout.BlockTokensMax * LayerCount, int.MaxValue),
        ];
        foreach (var (what, size, max) in sizes)
        {
            if (size > max)
            {
                return $"{what}: {size}; expected at most {max}";
            }
        }

        return null;
    }

    private string? ScalingFault()
    {
        if (!(AttentionScale > 0) || !float.IsFinite(AttentionScale))
        {
            return $"the rotary scaling gives a factor of attention scores of {AttentionScale}; "
                + "expected a number above 0 that a single can hold";
        }

        var rotation = (float)(Yarn?.RotationScale ?? 1);
        if (!(rotation > 0) || !float.IsFinite(rotation))
        {
            return $"the rotary scaling gives a factor of rotated values of {rotation}; "
                + "expected a number above 0 that a single can hold";
        }

        return Frequencies().All(double.IsFinite)
            ? null
            : $"the rotary base {RopeBase} with this scaling gives frequencies that are no finite numbers";
    }

    private IEnumerable<double> Frequencies()
    {
        var low = Yarn is null ? 0 : Math.Max(Math.Floor(CorrectionPair(Yarn.BetaFast)), 0);
        var high = Yarn is null ? 0 : Math.Min(Math.Ceiling(CorrectionPair(Yarn.BetaSlow)), RopeDimension - 1);
        var width = high == low ? 0.001 : high - low;
        for (var i = 0; i < RopeDimension / 2; i++)
        {
            var frequency = Math.Pow(RopeBase, -2.0 * i / RopeDimension);
            var ramp = Math.Clamp((i - low) / width, 0, 1);
            yield return Yarn is null
                ? frequency
                : (frequency / Yarn.Factor * ramp) + (frequency * (1 - ramp));
        }
    }

    /// <summary>The pair that turns <paramref name="rotations"/> times over the original context.</summary>
    private double CorrectionPair(double rotations) =>
        RopeDimension * Math.Log(Yarn!.OriginalContextLength / (2 * Math.PI * rotations)) / (2 * Math.Log(RopeBase));
}
