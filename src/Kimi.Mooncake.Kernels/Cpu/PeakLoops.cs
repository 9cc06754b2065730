using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>Loops that do nothing but what the processor is best at: the denominators of kernel measurements.</summary>
internal static unsafe class PeakLoops
{
    private const int Chains512 = 16;
    private const int Chains256 = 12;
    private const float Factor = 0.99f;
    private const float Addend = 0.01f;

    /// <summary>Multiply-adds and additions of one round of <see cref="MultiplyAdd"/>.</summary>
    internal static int FlopsPerRound => Vector512.IsHardwareAccelerated
        ? 2 * Chains512 * Vector512<float>.Count
        : 2 * Chains256 * Vector256<float>.Count;

    /// <summary>Independent chains of fused multiply-adds; the result keeps them from being removed.</summary>
    internal static float MultiplyAdd(int rounds) =>
        Vector512.IsHardwareAccelerated ? MultiplyAdd512(rounds) : MultiplyAdd256(rounds);

    /// <summary>Reads memory once, 64 bytes at a time. The result only keeps the reads from being removed.</summary>
    /// <param name="from">First value.</param>
    /// <param name="count">Values, a multiple of 64.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static float Read(float* from, long count)
    {
        Vector512<float> a = default, b = default, c = default, d = default;
        var lanes = Vector512<float>.Count;
        for (var end = from + count; from < end; from += 4 * lanes)
        {
            a += Vector512.Load(from);
            b += Vector512.Load(from + lanes);
            c += Vector512.Load(from + (2 * lanes));
            d += Vector512.Load(from + (3 * lanes));
        }

        return VectorMath.Sum(a + b + (c + d));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float MultiplyAdd512(int rounds)
    {
        Vector512<float> x = Vector512.Create(Factor), y = Vector512.Create(Addend);
        Vector512<float> a0 = y, a1 = y, a2 = y, a3 = y, a4 = y, a5 = y, a6 = y, a7 = y;
        Vector512<float> b0 = y, b1 = y, b2 = y, b3 = y, b4 = y, b5 = y, b6 = y, b7 = y;
        for (var i = 0; i < rounds; i++)
        {
            a0 = Vector512.FusedMultiplyAdd(a0, x, y);
            a1 = Vector512.FusedMultiplyAdd(a1, x, y);
            a2 = Vector512.FusedMultiplyAdd(a2, x, y);
            a3 = Vector512.FusedMultiplyAdd(a3, x, y);
            a4 = Vector512.FusedMultiplyAdd(a4, x, y);
            a5 = Vector512.FusedMultiplyAdd(a5, x, y);
            a6 = Vector512.FusedMultiplyAdd(a6, x, y);
            a7 = Vector512.FusedMultiplyAdd(a7, x, y);
            b0 = Vector512.FusedMultiplyAdd(b0, x, y);
            b1 = Vector512.FusedMultiplyAdd(b1, x, y);
            b2 = Vector512.FusedMultiplyAdd(b2, x, y);
            b3 = Vector512.FusedMultiplyAdd(b3, x, y);
            b4 = Vector512.FusedMultiplyAdd(b4, x, y);
            b5 = Vector512.FusedMultiplyAdd(b5, x, y);
            b6 = Vector512.FusedMultiplyAdd(b6, x, y);
            b7 = Vector512.FusedMultiplyAdd(b7, x, y);
        }

        return VectorMath.Sum(a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + b0 + b1 + b2 + b3 + b4 + b5 + b6 + b7);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float MultiplyAdd256(int rounds)
    {
        Vector256<float> x = Vector256.Create(Factor), y = Vector256.Create(Addend);
        Vector256<float> a0 = y, a1 = y, a2 = y, a3 = y, a4 = y, a5 = y;
        Vector256<float> b0 = y, b1 = y, b2 = y, b3 = y, b4 = y, b5 = y;
        for (var i = 0; i < rounds; i++)
        {
            a0 = Vector256.FusedMultiplyAdd(a0, x, y);
            a1 = Vector256.FusedMultiplyAdd(a1, x, y);
            a2 = Vector256.FusedMultiplyAdd(a2, x, y);
            a3 = Vector256.FusedMultiplyAdd(a3, x, y);
            a4 = Vector256.FusedMultiplyAdd(a4, x, y);
            a5 = Vector256.FusedMultiplyAdd(a5, x, y);
            b0 = Vector256.FusedMultiplyAdd(b0, x, y);
            b1 = Vector256.FusedMultiplyAdd(b1, x, y);
            b2 = Vector256.FusedMultiplyAdd(b2, x, y);
            b3 = Vector256.FusedMultiplyAdd(b3, x, y);
            b4 = Vector256.FusedMultiplyAdd(b4, x, y);
            b5 = Vector256.FusedMultiplyAdd(b5, x, y);
        }

        return (a0 + a1 + a2 + a3 + a4 + a5 + b0 + b1 + b2 + b3 + b4 + b5).GetElement(0);
    }
}
