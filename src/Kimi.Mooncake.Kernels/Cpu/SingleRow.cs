using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// The product of one row with 32 stored rows of singles, which are turned in registers, as a panel is not worth being
/// made for it; for a few rows the turned values are kept. The chain of an element is the same as everywhere, so its
/// bits are, too.
/// </summary>
internal static unsafe class SingleRow
{
    private const int Lanes = MicroKernels.Lanes;

    // What lies so far on in each row is asked for: there are too many rows for the processor to foresee it.
    private const int AheadValues = 8 * Lanes;

    internal static bool IsSupported => Avx512F.IsSupported;

    /// <summary><c>y[i] = sum over k of x[k] * w[i][k]</c>, k ascending, for 32 rows of w.</summary>
    /// <param name="x">The row.</param>
    /// <param name="w">First stored row.</param>
    /// <param name="ldw">Values from one stored row to the next.</param>
    /// <param name="columns">Values of a row.</param>
    /// <param name="y">32 results.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Multiply(float* x, float* w, long ldw, int columns, float* y)
    {
        Vector512<float> left = default, right = default;
        var lower = w + (Lanes * ldw);
        var k = 0;
        for (; k + Lanes <= columns; k += Lanes)
        {
            left = Advance(x + k, w + k, ldw, left);
            right = Advance(x + k, lower + k, ldw, right);
        }

        for (; k < columns; k++)
        {
            left = Vector512.FusedMultiplyAdd(Vector512.Create(x[k]), Column(w + k, ldw), left);
            right = Vector512.FusedMultiplyAdd(Vector512.Create(x[k]), Column(lower + k, ldw), right);
        }

        left.Store(y);
        right.Store(y + Lanes);
    }

    /// <summary>32 stored rows as a panel <c>[columns][32]</c>.</summary>
    /// <param name="w">First stored row.</param>
    /// <param name="ldw">Values from one stored row to the next.</param>
    /// <param name="columns">Values of a row.</param>
    /// <param name="panel">Receives them.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Turn(float* w, long ldw, int columns, float* panel)
    {
        const int Width = MicroKernels.PanelColumns;
        var lower = w + (Lanes * ldw);
        var k = 0;
        for (; k + Lanes <= columns; k += Lanes)
        {
            TurnLanes(w + k, ldw, panel + (k * Width));
            TurnLanes(lower + k, ldw, panel + (k * Width) + Lanes);
        }

        for (; k < columns; k++)
        {
            Column(w + k, ldw).Store(panel + (k * Width));
            Column(lower + k, ldw).Store(panel + (k * Width) + Lanes);
        }
    }

    private static Vector512<float> Column(float* w, long ldw)
    {
        var values = stackalloc float[Lanes];
        for (var row = 0; row < Lanes; row++)
        {
            values[row] = w[row * ldw];
        }

        return Vector512.Load(values);
    }

    /// <summary>Sixteen values of k for sixteen rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Advance(float* x, float* w, long ldw, Vector512<float> sum)
    {
        // Of rows 4i to 4i+3: q(i)(j) has their columns j, j+4, j+8 and j+12.
        Quarter(w, ldw, out var q00, out var q01, out var q02, out var q03);
        Quarter(w + (4 * ldw), ldw, out var q10, out var q11, out var q12, out var q13);
        Quarter(w + (8 * ldw), ldw, out var q20, out var q21, out var q22, out var q23);
        Quarter(w + (12 * ldw), ldw, out var q30, out var q31, out var q32, out var q33);
        Join(q00, q10, q20, q30, out var c0, out var c4, out var c8, out var c12);
        Join(q01, q11, q21, q31, out var c1, out var c5, out var c9, out var c13);
        Join(q02, q12, q22, q32, out var c2, out var c6, out var c10, out var c14);
        Join(q03, q13, q23, q33, out var c3, out var c7, out var c11, out var c15);
        sum = Fma(x[3], c3, Fma(x[2], c2, Fma(x[1], c1, Fma(x[0], c0, sum))));
        sum = Fma(x[7], c7, Fma(x[6], c6, Fma(x[5], c5, Fma(x[4], c4, sum))));
        sum = Fma(x[11], c11, Fma(x[10], c10, Fma(x[9], c9, Fma(x[8], c8, sum))));
        return Fma(x[15], c15, Fma(x[14], c14, Fma(x[13], c13, Fma(x[12], c12, sum))));
    }

    /// <summary>Sixteen values of k for sixteen rows, stored.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void TurnLanes(float* w, long ldw, float* panel)
    {
        Quarter(w, ldw, out var q00, out var q01, out var q02, out var q03);
        Quarter(w + (4 * ldw), ldw, out var q10, out var q11, out var q12, out var q13);
        Quarter(w + (8 * ldw), ldw, out var q20, out var q21, out var q22, out var q23);
        Quarter(w + (12 * ldw), ldw, out var q30, out var q31, out var q32, out var q33);
        StoreJoined(q00, q10, q20, q30, panel);
        StoreJoined(q01, q11, q21, q31, panel + MicroKernels.PanelColumns);
        StoreJoined(q02, q12, q22, q32, panel + (2 * MicroKernels.PanelColumns));
        StoreJoined(q03, q13, q23, q33, panel + (3 * MicroKernels.PanelColumns));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreJoined(
        Vector512<float> q0, Vector512<float> q1, Vector512<float> q2, Vector512<float> q3, float* panel)
    {
        const int FourColumns = 4 * MicroKernels.PanelColumns;
        Join(q0, q1, q2, q3, out var first, out var second, out var third, out var fourth);
        first.Store(panel);
        second.Store(panel + FourColumns);
        third.Store(panel + (2 * FourColumns));
        fourth.Store(panel + (3 * FourColumns));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Quarter(
        float* w,
        long ldw,
        out Vector512<float> q0,
        out Vector512<float> q1,
        out Vector512<float> q2,
        out Vector512<float> q3)
    {
        Vector512<float> r0 = Row(w), r1 = Row(w + ldw), r2 = Row(w + (2 * ldw)), r3 = Row(w + (3 * ldw));
        var low01 = Avx512F.UnpackLow(r0, r1).AsDouble();
        var low23 = Avx512F.UnpackLow(r2, r3).AsDouble();
        var high01 = Avx512F.UnpackHigh(r0, r1).AsDouble();
        var high23 = Avx512F.UnpackHigh(r2, r3).AsDouble();
        q0 = Avx512F.UnpackLow(low01, low23).AsSingle();
        q1 = Avx512F.UnpackHigh(low01, low23).AsSingle();
        q2 = Avx512F.UnpackLow(high01, high23).AsSingle();
        q3 = Avx512F.UnpackHigh(high01, high23).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Join(
        Vector512<float> q0,
        Vector512<float> q1,
        Vector512<float> q2,
        Vector512<float> q3,
        out Vector512<float> first,
        out Vector512<float> second,
        out Vector512<float> third,
        out Vector512<float> fourth)
    {
        const byte Even = 0x88, Odd = 0xdd;
        var evenTop = Avx512F.Shuffle4x128(q0, q1, Even);
        var oddTop = Avx512F.Shuffle4x128(q0, q1, Odd);
        var evenBottom = Avx512F.Shuffle4x128(q2, q3, Even);
        var oddBottom = Avx512F.Shuffle4x128(q2, q3, Odd);
        first = Avx512F.Shuffle4x128(evenTop, evenBottom, Even);
        third = Avx512F.Shuffle4x128(evenTop, evenBottom, Odd);
        second = Avx512F.Shuffle4x128(oddTop, oddBottom, Even);
        fourth = Avx512F.Shuffle4x128(oddTop, oddBottom, Odd);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Row(float* w)
    {
        Sse.Prefetch0(w + AheadValues);
        return Vector512.Load(w);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Fma(float x, Vector512<float> w, Vector512<float> sum) =>
        Vector512.FusedMultiplyAdd(Vector512.Create(x), w, sum);
}
