using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>Exponentials of 16 values at once, and sums in a fixed order.</summary>
internal static class VectorMath
{
    private const float Log2E = 1.44269504f;
    private const float Log2ERest = 1.925963033e-8f;
    private const float NaturalMax = 88f;

    // Adding this leaves the nearest integer in the low bits of the sum.
    private const float RoundingShift = 12582912f;

    // Below 2^-126 the result is zero: the exponent's bits come out as 0.
    private const float PowerMin = -127f;

    /// <summary>Greatest exponent of a power of two that is a number.</summary>
    internal const float PowerMax = 127f;

    private const int ExponentShift = 23;
    private const int ExponentBias = 127 << ExponentShift;

    // Minimax in relative error for 2^f - 1 on [-1/2, 1/2], constant term 1 exact: 2.6e-9.
    private const float C1 = 0.6931472420692444f;
    private const float C2 = 0.24022652208805084f;
    private const float C3 = 0.055503103882074356f;
    private const float C4 = 0.009617692790925503f;
    private const float C5 = 0.0013406643411144614f;
    private const float C6 = 0.00015594677824992687f;

    /// <summary>Coefficients of f, f^2 and so on in <see cref="Exp2"/>.</summary>
    internal static readonly float[] Exp2Coefficients = [C1, C2, C3, C4, C5, C6];

    /// <summary>
    /// 2^x within 1 ulp; exactly 0 below -127, exactly 1 at 0. x is limited to 127 from above: the difference from the
    /// greatest of large scores can come out above 0, by as much as a unit in the last place of a score.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<float> Exp2(Vector512<float> x)
    {
        x = Vector512.MaxNative(x, Vector512.Create(PowerMin));
        x = Vector512.MinNative(x, Vector512.Create(PowerMax));
        var shifted = x + Vector512.Create(RoundingShift);
        return PowerOf(shifted, x - (shifted - Vector512.Create(RoundingShift)));
    }

    /// <summary>e^x within 2 ulp; x is limited to 88 from above, results below 2^-126 are 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<float> Exp(Vector512<float> x)
    {
        x = Vector512.MinNative(x, Vector512.Create(NaturalMax));
        x = Vector512.MaxNative(x, Vector512.Create(-NaturalMax));
        var shifted = Vector512.FusedMultiplyAdd(x, Vector512.Create(Log2E), Vector512.Create(RoundingShift));
        var whole = shifted - Vector512.Create(RoundingShift);
        var rest = Vector512.FusedMultiplyAdd(x, Vector512.Create(Log2E), -whole);
        return PowerOf(shifted, Vector512.FusedMultiplyAdd(x, Vector512.Create(Log2ERest), rest));
    }

    /// <summary>Sum of the 16 values: halves are added to halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static float Sum(Vector512<float> values)
    {
        var v8 = values.GetLower() + values.GetUpper();
        var v4 = v8.GetLower() + v8.GetUpper();
        var v2 = v4 + Vector128.Shuffle(v4, Vector128.Create(2, 3, 0, 1));
        return v2.GetElement(0) + v2.GetElement(1);
    }

    /// <summary>Greatest of the 16 values.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static float Max(Vector512<float> values)
    {
        var v8 = Vector256.MaxNative(values.GetLower(), values.GetUpper());
        var v4 = Vector128.MaxNative(v8.GetLower(), v8.GetUpper());
        var v2 = Vector128.MaxNative(v4, Vector128.Shuffle(v4, Vector128.Create(2, 3, 0, 1)));
        return MathF.Max(v2.GetElement(0), v2.GetElement(1));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> PowerOf(Vector512<float> shifted, Vector512<float> fraction)
    {
        var p = Vector512.FusedMultiplyAdd(fraction, Vector512.Create(C6), Vector512.Create(C5));
        p = Vector512.FusedMultiplyAdd(fraction, p, Vector512.Create(C4));
        p = Vector512.FusedMultiplyAdd(fraction, p, Vector512.Create(C3));
        p = Vector512.FusedMultiplyAdd(fraction, p, Vector512.Create(C2));
        p = Vector512.FusedMultiplyAdd(fraction, p, Vector512.Create(C1));
        p = Vector512.FusedMultiplyAdd(fraction, p, Vector512<float>.One);
        var exponent = Vector512.ShiftLeft(shifted.AsInt32(), ExponentShift) + Vector512.Create(ExponentBias);
        return p * exponent.AsSingle();
    }
}
