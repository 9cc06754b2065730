namespace Kimi.Mooncake.Kernels.Reference;

/// <summary>
/// The bfloat16 arithmetic by definition, value by value: what every path of the fast set gives to the last bit.
/// Magnitudes below the smallest normal number are zeros wherever they arise.
/// </summary>
internal static class Bf16Chain
{
    private const float NormalMin = 1.17549435e-38f;
    private const int HalfBits = 16;

    /// <summary>The nearest bfloat16, halves to even; any NaN becomes the quiet one.</summary>
    internal static ushort Round(float value)
    {
        if (float.IsNaN(value))
        {
            return 0x7fc0;
        }

        if (MathF.Abs(value) < NormalMin)
        {
            return 0;
        }

        var bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7fff + ((bits >> HalfBits) & 1)) >> HalfBits);
    }

    /// <summary>The nearest bfloat16 to what <see cref="Round"/> takes away; 0 where it leaves no number.</summary>
    internal static ushort RoundRest(float value)
    {
        var rounded = BitConverter.UInt32BitsToSingle((uint)Round(value) << HalfBits);
        return float.IsFinite(rounded) ? Round(value - rounded) : (ushort)0;
    }

    /// <summary>The value of a bfloat16.</summary>
    internal static float Widen(ushort value) => Flush(BitConverter.UInt32BitsToSingle((uint)value << HalfBits));

    /// <summary>
    /// <c>start + sum of a[k] * b[k]</c>: pairs of k ascending, the odd one of a pair first; an odd last value is
    /// paired with zeros.
    /// </summary>
    internal static float Sum(ReadOnlySpan<ushort> a, ReadOnlySpan<ushort> b, float start = 0)
    {
        var sum = Flush(start);
        for (var even = 0; even < a.Length; even += 2)
        {
            var odd = even + 1;
            var (left, right) = odd < a.Length ? (Widen(a[odd]), Widen(b[odd])) : (0, 0);
            sum = Flush(MathF.FusedMultiplyAdd(left, right, sum));
            sum = Flush(MathF.FusedMultiplyAdd(Widen(a[even]), Widen(b[even]), sum));
        }

        return sum;
    }

    private static float Flush(float value) => MathF.Abs(value) < NormalMin ? MathF.CopySign(0, value) : value;
}
