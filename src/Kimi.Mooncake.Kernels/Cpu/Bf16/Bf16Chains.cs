using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// The product of <see cref="Bf16Kernels"/> with fused multiply-adds of widened values, for any processor.
/// </summary>
/// <remarks>
/// Zeros in place of values below the smallest normal number cost more than the multiply-adds, so it is looked up first
/// whether there can be any: values whose last bits weigh 2^-126 or more in all products and starts have sums that are
/// whole multiples of 2^-126.
/// </remarks>
internal static unsafe class Bf16Chains
{
    private const int Panel = PanelWeight.PanelColumns;
    private const int Lanes = 8;
    private const int TileRows = 4;
    private const int TileColumns = 2 * Lanes;
    private const int MantissaBits = 7;
    private const uint OddMask = 0xffff0000;
    private const uint ExponentMask = 0x7f800000;
    private const uint SignMask = 0x80000000;
    private const int HalfBits = 16;

    // Exponent fields of two factors whose product's last bit weighs 2^-126: 2 * 127 - 126 + 2 * 7.
    private const int ExponentsMin = 142;

    // 2^-103: the least single whose last bit weighs 2^-126.
    private const float StartMin = 9.8607613e-32f;

    internal static void Multiply(
        ushort* a, long lda, int rows, uint* b, int pairs, float* c, long ldc, bool accumulate)
    {
        var panelExponent = LeastExponent((ushort*)b, 2 * pairs * Panel);
        for (var row = 0; row < rows; row += TileRows)
        {
            var count = Math.Min(TileRows, rows - row);
            var plain = panelExponent > 0;
            for (var r = row; r < row + count; r++)
            {
                var left = LeastExponent(a + (r * lda), 2 * pairs);
                plain &= left > 0 && left + panelExponent >= ExponentsMin && StartsPlain(c + (r * ldc), accumulate);
            }

            if (plain)
            {
                for (var column = 0; column < Panel; column += TileColumns)
                {
                    Rows4Columns16(
                        a + (row * lda), lda, count - 1, b + column, pairs, c + (row * ldc) + column, ldc, accumulate);
                }
            }
            else
            {
                for (var r = row; r < row + count; r++)
                {
                    FlushingRow((uint*)(a + (r * lda)), b, pairs, c + (r * ldc), accumulate);
                }
            }
        }
    }

    /// <summary>The least exponent field of the values that are not zero; 256 where all are.</summary>
    private static int LeastExponent(ushort* values, int count)
    {
        // Less one, so that zeros are the greatest.
        var least = Vector256<ushort>.AllBitsSet;
        var i = 0;
        for (; i + Vector256<ushort>.Count <= count; i += Vector256<ushort>.Count)
        {
            var magnitude = Vector256.Load(values + i) & Vector256.Create((ushort)0x7fff);
            least = Vector256.Min(least, magnitude - Vector256<ushort>.One);
        }

        var result = ushort.MaxValue;
        for (var lane = 0; lane < Vector256<ushort>.Count; lane++)
        {
            result = Math.Min(result, least.GetElement(lane));
        }

        for (; i < count; i++)
        {
            result = Math.Min(result, (ushort)((values[i] & 0x7fff) - 1));
        }

        return (result + 1) >> MantissaBits;
    }

    private static bool StartsPlain(float* c, bool accumulate)
    {
        var plain = Vector256<float>.AllBitsSet;
        for (var i = 0; i < Panel && accumulate; i += Lanes)
        {
            var start = Vector256.Abs(Vector256.Load(c + i));
            plain &= Vector256.Equals(start, Vector256<float>.Zero)
                | Vector256.GreaterThanOrEqual(start, Vector256.Create(StartMin));
        }

        return Vector256.EqualsAll(plain.AsUInt32(), Vector256<uint>.AllBitsSet);
    }

    /// <summary>Up to four rows by 16 columns; where fewer rows exist, the last is computed again.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows4Columns16(
        ushort* a, long lda, int last, uint* b, int pairs, float* c, long ldc, bool accumulate)
    {
        int r1 = Math.Min(1, last), r2 = Math.Min(2, last), r3 = Math.Min(TileRows - 1, last);
        uint* a0 = (uint*)a, a1 = (uint*)(a + (r1 * lda)), a2 = (uint*)(a + (r2 * lda)), a3 = (uint*)(a + (r3 * lda));
        float* c1 = c + (r1 * ldc), c2 = c + (r2 * ldc), c3 = c + (r3 * ldc);
        Vector256<float> s00 = default, s01 = default, s10 = default, s11 = default;
        Vector256<float> s20 = default, s21 = default, s30 = default, s31 = default;
        if (accumulate)
        {
            (s00, s01) = (Vector256.Load(c), Vector256.Load(c + Lanes));
            (s10, s11) = (Vector256.Load(c1), Vector256.Load(c1 + Lanes));
            (s20, s21) = (Vector256.Load(c2), Vector256.Load(c2 + Lanes));
            (s30, s31) = (Vector256.Load(c3), Vector256.Load(c3 + Lanes));
        }

        for (var i = 0L; i < pairs; i++)
        {
            Vector256<uint> left = Vector256.Load(b), right = Vector256.Load(b + Lanes);
            b += Panel;
            Vector256<float> odd0 = Odd(left), odd1 = Odd(right), even0 = Even(left), even1 = Even(right);
            Vector256<float> odd = OddOf(a0[i]), even = EvenOf(a0[i]);
            s00 = Fma(even, even0, Fma(odd, odd0, s00)); s01 = Fma(even, even1, Fma(odd, odd1, s01));
            (odd, even) = (OddOf(a1[i]), EvenOf(a1[i]));
            s10 = Fma(even, even0, Fma(odd, odd0, s10)); s11 = Fma(even, even1, Fma(odd, odd1, s11));
            (odd, even) = (OddOf(a2[i]), EvenOf(a2[i]));
            s20 = Fma(even, even0, Fma(odd, odd0, s20)); s21 = Fma(even, even1, Fma(odd, odd1, s21));
            (odd, even) = (OddOf(a3[i]), EvenOf(a3[i]));
            s30 = Fma(even, even0, Fma(odd, odd0, s30)); s31 = Fma(even, even1, Fma(odd, odd1, s31));
        }

        Store(c3, s30, s31);
        Store(c2, s20, s21);
        Store(c1, s10, s11);
        Store(c, s00, s01);
    }

    /// <summary>One row by 32 columns where values or sums may have to be taken for zeros.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FlushingRow(uint* a, uint* b, int pairs, float* c, bool accumulate)
    {
        for (var column = 0; column < Panel; column += Lanes)
        {
            var sum = accumulate ? Flush(Vector256.Load(c + column)) : default;
            for (var i = 0L; i < pairs; i++)
            {
                var pair = Vector256.Load(b + (i * Panel) + column);
                sum = Flush(Fma(Flush(OddOf(a[i])), Flush(Odd(pair)), sum));
                sum = Flush(Fma(Flush(EvenOf(a[i])), Flush(Even(pair)), sum));
            }

            sum.Store(c + column);
        }
    }

    /// <summary>Zeros of the same sign in place of values below the smallest normal number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Flush(Vector256<float> x)
    {
        var bits = x.AsUInt32();
        var isZero = Vector256.Equals(bits & Vector256.Create(ExponentMask), Vector256<uint>.Zero);
        return Vector256.ConditionalSelect(isZero, bits & Vector256.Create(SignMask), bits).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Odd(Vector256<uint> pairs) => (pairs & Vector256.Create(OddMask)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Even(Vector256<uint> pairs) => (pairs << HalfBits).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> OddOf(uint pair) => Vector256.Create(pair & OddMask).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> EvenOf(uint pair) => Vector256.Create(pair << HalfBits).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Fma(Vector256<float> a, Vector256<float> b, Vector256<float> c) =>
        Vector256.FusedMultiplyAdd(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* to, Vector256<float> left, Vector256<float> right)
    {
        left.Store(to);
        right.Store(to + Lanes);
    }
}
