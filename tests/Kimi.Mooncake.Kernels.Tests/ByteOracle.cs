using Kimi.Mooncake.Kernels.Reference;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>
/// The products of absorbed attention over cached bytes, and the softmax between them, as they are defined: one value
/// at a time.
/// </summary>
internal static class ByteOracle
{
    private const int GroupValues = 64;

    /// <summary>The chain of rotated values, then group after group an exact sum times both scales.</summary>
    internal static float Score(
        ReadOnlySpan<ushort> queryRope, ReadOnlySpan<sbyte> query, ReadOnlySpan<float> queryScales,
        ReadOnlySpan<ushort> keyRope, ReadOnlySpan<sbyte> key, ReadOnlySpan<float> keyScales)
    {
        var score = Bf16Chain.Sum(queryRope, keyRope);
        for (var group = 0; group < keyScales.Length; group++)
        {
            var sum = 0;
            for (var i = group * GroupValues; i < Math.Min((group + 1) * GroupValues, key.Length); i++)
            {
                sum += query[i] * key[i];
            }

            score = MathF.FusedMultiplyAdd(sum, keyScales[group] * queryScales[group], score);
        }

        return score;
    }

    /// <summary>Advances a maximum and a sum by a tile; its weights by group, and what their units are.</summary>
    internal static Rounded Weigh(
        float[] scores, float scale, float[][] keyScales, float spread, ref float max, ref float sum)
    {
        var (weights, rescale) = LatentOracle.Advance(scores, scale, ref max, ref sum);
        var greatest = weights.Max();
        var isHeavy = greatest * spread > sum;
        float levels = isHeavy ? 65535 : 255;
        var factor = greatest >= MathF.Pow(2, -40) ? levels / greatest : 0;
        var (units, rounded) = (new float[keyScales.Length], new int[keyScales.Length][]);
        for (var group = 0; group < keyScales.Length; group++)
        {
            var high = keyScales[group].Max();
            var inverse = high == 0 ? 0 : 1 / high;
            units[group] = greatest / levels * high;
            rounded[group] = new int[weights.Length];
            for (var key = 0; key < weights.Length; key++)
            {
                var share = keyScales[group][key] * inverse;
                rounded[group][key] = (int)MathF.Min(MathF.Round(weights[key] * factor * share), levels);
            }
        }

        return new Rounded(isHeavy, rescale, units, rounded);
    }

    /// <summary>What was before times a factor, and then each row's exact sum times its unit.</summary>
    internal static float Sum(
        float before, float rescale, ReadOnlySpan<byte> weights, float unit, Func<int, sbyte> latent)
    {
        var sum = 0;
        for (var key = 0; key < weights.Length; key++)
        {
            sum += weights[key] * latent(key);
        }

        return MathF.FusedMultiplyAdd(sum, unit, before * rescale);
    }

    /// <summary>Rounded weights of a head.</summary>
    /// <param name="IsHeavy">Whether they have two parts.</param>
    /// <param name="Rescale">Factor of the sums before.</param>
    /// <param name="Units">What they are worth, by group.</param>
    /// <param name="Weights">By group and key.</param>
    internal sealed record Rounded(bool IsHeavy, float Rescale, float[] Units, int[][] Weights);
}
