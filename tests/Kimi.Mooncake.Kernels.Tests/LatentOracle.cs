using System.Runtime.Intrinsics;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Reference;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>
/// The two products of absorbed attention in bfloat16, and the softmax between them, as they are defined: one value at
/// a time.
/// </summary>
internal static class LatentOracle
{
    private const int Lanes = 16;

    /// <summary>Sixteen lanes of pairs, the odd value of each first; then halves of the lanes are added up.</summary>
    internal static float Score(ReadOnlySpan<ushort> query, ReadOnlySpan<ushort> key)
    {
        var lanes = new float[Lanes];
        for (var pair = 0; pair < query.Length / 2; pair++)
        {
            lanes[pair % Lanes] = Bf16Chain.Sum(
                query.Slice(2 * pair, 2), key.Slice(2 * pair, 2), lanes[pair % Lanes]);
        }

        return Total(lanes);
    }

    /// <summary>Advances a maximum and a sum by a tile; the weights, and the factor of what was before.</summary>
    internal static (ushort[] Weights, float Rescale) Weigh(float[] scores, float scale, ref float max, ref float sum)
    {
        var (weights, rescale) = Advance(scores, scale, ref max, ref sum);
        return (
            [.. weights.Select(weight => weight < MathF.Pow(2, -40) ? (ushort)0 : Bf16Chain.Round(weight))], rescale);
    }

    /// <summary>The same with weights as they are before they are rounded.</summary>
    internal static (float[] Weights, float Rescale) Advance(float[] scores, float scale, ref float max, ref float sum)
    {
        var (before, lanes, odd) = (max, new float[Lanes], new float[Lanes]);
        max = MathF.Max(max, scores.Max() * scale);
        var weights = new float[scores.Length];
        for (var key = 0; key < scores.Length; key++)
        {
            weights[key] = Power(MathF.FusedMultiplyAdd(scores[key], scale, -max));
            (key / Lanes % 2 == 0 ? lanes : odd)[key % Lanes] += weights[key];
        }

        for (var lane = 0; lane < Lanes; lane++)
        {
            lanes[lane] += odd[lane];
        }

        var rescale = Power(before - max);
        sum = (sum * rescale) + Total(lanes);
        return (weights, rescale);
    }

    /// <summary>A chain over keys by pairs, the odd key first, and what was before it times a factor.</summary>
    internal static float Sum(
        ReadOnlySpan<ushort> weights, ReadOnlySpan<ushort> rows, int column, int values, float before, float rescale)
    {
        var column16 = new ushort[weights.Length];
        for (var key = 0; key < weights.Length; key++)
        {
            column16[key] = rows[(key * values) + column];
        }

        return MathF.FusedMultiplyAdd(rescale, before, Bf16Chain.Sum(weights, column16));
    }

    private static float Power(float exponent) => VectorMath.Exp2(Vector512.Create(exponent)).ToScalar();

    /// <summary>Halves of the lanes are added to halves.</summary>
    private static float Total(float[] lanes)
    {
        for (var half = Lanes / 2; half > 0; half /= 2)
        {
            for (var lane = 0; lane < half; lane++)
            {
                lanes[lane] += lanes[lane + half];
            }
        }

        return lanes[0];
    }
}
