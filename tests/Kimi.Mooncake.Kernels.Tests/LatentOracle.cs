using Kimi.Mooncake.Kernels.Reference;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>The two products of absorbed attention in bfloat16 as they are defined, one value at a time.</summary>
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

        for (var half = Lanes / 2; half > 0; half /= 2)
        {
            for (var lane = 0; lane < half; lane++)
            {
                lanes[lane] += lanes[lane + half];
            }
        }

        return lanes[0];
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
}
