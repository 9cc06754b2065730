using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>The definition of the KV element types, one value at a time.</summary>
internal static class KvOracle
{
    /// <summary>What is read of values that were written.</summary>
    internal static float[] Stored(KvElementType type, float[] values, int latentRank) => type switch
    {
        KvElementType.F32 => values,
        KvElementType.BF16 => [.. values.Select(value => Single(Bf16(value)))],
        _ =>
        [
            .. values[..latentRank].Chunk(64).SelectMany(Grouped),
            .. values[latentRank..].Select(value => Single(Bf16(value))),
        ],
    };

    /// <summary>The nearest bfloat16, halves to even; what is no normal number becomes 0.</summary>
    internal static ushort Bf16(float value)
    {
        if (Math.Abs(value) < 1.17549435e-38f)
        {
            return 0;
        }

        // Neighbours of the value: the pattern cut off, and the next larger magnitude.
        var below = (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16);
        var above = (ushort)(below + 1);
        var (down, up) = ((double)value - Single(below), (double)Single(above) - value);
        return Math.Abs(down) < Math.Abs(up) || (Math.Abs(down) == Math.Abs(up) && below % 2 == 0) ? below : above;
    }

    internal static float Single(ushort bf16) => BitConverter.UInt32BitsToSingle((uint)bf16 << 16);

    private static float[] Grouped(float[] group)
    {
        var max = group.Max(Math.Abs);
        if (max < MathF.Pow(2, -100))
        {
            return new float[group.Length];
        }

        var (scale, factor) = (max / 127, 127 / max);
        return [.. group.Select(value => (int)MathF.Round(value * factor, MidpointRounding.ToEven) * scale)];
    }
}
