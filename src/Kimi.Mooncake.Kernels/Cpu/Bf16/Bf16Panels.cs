using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// Makes panels <c>[k / 2][32][2]</c> of bfloat16: from stored rows, and from computed rows of single precision.
/// </summary>
internal static unsafe class Bf16Panels
{
    private const int Panel = PanelWeight.PanelColumns;
    private const int Side = 16;
    private const int LineBytes = 64;
    private const int LineValues = LineBytes / sizeof(ushort);

    /// <summary>Panel of up to 32 rows: row <c>n</c> becomes column <c>n</c>; columns without a row are 0.</summary>
    /// <param name="rows">First row.</param>
    /// <param name="stride">Values from one row to the next.</param>
    /// <param name="count">Rows, 1 to 32.</param>
    /// <param name="k">Values of a row; an odd last one is paired with a zero.</param>
    /// <param name="ahead">Values from where a row is read to what is asked for from memory meanwhile.</param>
    /// <param name="panel">Receives <c>(k + 1) / 2</c> pairs of each column.</param>
    internal static void FromRows(ushort* rows, long stride, int count, int k, long ahead, uint* panel)
    {
        if (count < Panel)
        {
            new Span<uint>(panel, (k + 1) / 2 * Panel).Clear();
        }

        var row = 0;
        for (; Avx512F.IsSupported && row + Side <= count; row += Side)
        {
            var from = rows + (row * stride);
            var turned = 0;
            for (; turned + LineValues <= k; turned += LineValues)
            {
                Turn(from + turned, stride, ahead, panel + (turned / 2 * Panel) + row);
            }

            TurnValues(from + turned, stride, Side, k - turned, panel + (turned / 2 * Panel) + row);
        }

        TurnValues(rows + (row * stride), stride, count - row, k, panel + row);
    }

    /// <summary>Rounds two rows of 16-value vectors to the pairs of one row of a panel.</summary>
    /// <param name="even">Value of even k for each column.</param>
    /// <param name="odd">Value of odd k for each column; null where there is none, which makes zeros.</param>
    /// <param name="columns">Columns, a multiple of 16.</param>
    /// <param name="pairs">Receives them.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void FromPair(float* even, float* odd, int columns, uint* pairs)
    {
        for (var i = 0; i < columns; i += Side)
        {
            var low = Rounded(Vector512.Load(even + i)) >> 16;
            var high = odd == null
                ? Vector512<uint>.Zero
                : Rounded(Vector512.Load(odd + i)) & Vector512.Create(0xffff0000u);
            (low | high).Store(pairs + i);
        }
    }

    /// <summary>Bfloat16 in the upper half of each number, halves to even; anything in the lower half.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<uint> Rounded(Vector512<float> x)
    {
        var bits = x.AsUInt32();
        return bits + Vector512.Create(0x7fffu) + ((bits >> 16) & Vector512<uint>.One);
    }

    private static void TurnValues(ushort* rows, long stride, int count, int k, uint* panel)
    {
        for (var row = 0; row < count; row++)
        {
            var from = rows + (row * stride);
            for (var i = 0; i < k / 2; i++)
            {
                panel[(i * Panel) + row] = from[2 * i] | ((uint)from[(2 * i) + 1] << 16);
            }

            if (k % 2 != 0)
            {
                panel[(k / 2 * Panel) + row] = from[k - 1];
            }
        }
    }

    /// <summary>Sixteen pairs of 16 rows: pairs within quarters of registers first, then quarters.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Turn(ushort* rows, long stride, long ahead, uint* panel)
    {
        // Quarter q of u[g][j]: pair 4 q + j of rows 4 g to 4 g + 3.
        Quad(rows, stride, ahead, out var a0, out var a1, out var a2, out var a3);
        Quad(rows + (4 * stride), stride, ahead, out var b0, out var b1, out var b2, out var b3);
        Quad(rows + (8 * stride), stride, ahead, out var c0, out var c1, out var c2, out var c3);
        Quad(rows + (12 * stride), stride, ahead, out var d0, out var d1, out var d2, out var d3);
        Quarters(a0, b0, c0, d0, panel);
        Quarters(a1, b1, c1, d1, panel + Panel);
        Quarters(a2, b2, c2, d2, panel + (2 * Panel));
        Quarters(a3, b3, c3, d3, panel + (3 * Panel));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Quad(
        ushort* rows, long stride, long ahead,
        out Vector512<uint> u0, out Vector512<uint> u1, out Vector512<uint> u2, out Vector512<uint> u3)
    {
        ushort* r1 = rows + stride, r2 = r1 + stride, r3 = r2 + stride;
        Sse.Prefetch0(rows + ahead);
        Sse.Prefetch0(r1 + ahead);
        Sse.Prefetch0(r2 + ahead);
        Sse.Prefetch0(r3 + ahead);
        Vector512<uint> v0 = Vector512.Load((uint*)rows), v1 = Vector512.Load((uint*)r1);
        Vector512<uint> v2 = Vector512.Load((uint*)r2), v3 = Vector512.Load((uint*)r3);
        var low01 = Avx512F.UnpackLow(v0, v1).AsUInt64();
        var high01 = Avx512F.UnpackHigh(v0, v1).AsUInt64();
        var low23 = Avx512F.UnpackLow(v2, v3).AsUInt64();
        var high23 = Avx512F.UnpackHigh(v2, v3).AsUInt64();
        u0 = Avx512F.UnpackLow(low01, low23).AsUInt32();
        u1 = Avx512F.UnpackHigh(low01, low23).AsUInt32();
        u2 = Avx512F.UnpackLow(high01, high23).AsUInt32();
        u3 = Avx512F.UnpackHigh(high01, high23).AsUInt32();
    }

    /// <summary>Quarter q of the four registers is 16 rows of pair <c>4 q</c> on from the first.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Quarters(
        Vector512<uint> a, Vector512<uint> b, Vector512<uint> c, Vector512<uint> d, uint* panel)
    {
        var ab02 = Avx512F.Shuffle4x128(a, b, 0x88);
        var ab13 = Avx512F.Shuffle4x128(a, b, 0xdd);
        var cd02 = Avx512F.Shuffle4x128(c, d, 0x88);
        var cd13 = Avx512F.Shuffle4x128(c, d, 0xdd);
        Avx512F.Shuffle4x128(ab02, cd02, 0x88).Store(panel);
        Avx512F.Shuffle4x128(ab13, cd13, 0x88).Store(panel + (4 * Panel));
        Avx512F.Shuffle4x128(ab02, cd02, 0xdd).Store(panel + (8 * Panel));
        Avx512F.Shuffle4x128(ab13, cd13, 0xdd).Store(panel + (12 * Panel));
    }
}
