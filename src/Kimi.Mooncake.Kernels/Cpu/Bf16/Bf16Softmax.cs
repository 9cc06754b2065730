using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// Softmax over keys that arrive tile by tile, as <see cref="OnlineSoftmax"/>, with weights rounded to bfloat16. The
/// running maximum and the running sum stay in single precision, and the sum is that of the weights before rounding.
/// </summary>
internal static unsafe class Bf16Softmax
{
    private const int Lanes = MicroKernels.Lanes;
    private const int Panel = MicroKernels.PanelColumns;
    private const int HalfBits = 16;
    private const float NormalMin = 1.17549435e-38f;

    /// <summary>
    /// Turns a row's scores of a tile into weights in their place and updates the row's state. Hidden keys, whose
    /// scores are negative infinity, get the weight 0, however many they are.
    /// </summary>
    /// <param name="scores">Scores in; as many bfloat16 weights out, from the first byte on.</param>
    /// <param name="width">Scores, a multiple of 32, the first of which is finite.</param>
    /// <param name="scale">Factor of the scores times the base-2 logarithm of e; above 0.</param>
    /// <param name="max">Running maximum; negative infinity at first.</param>
    /// <param name="sum">Running sum; 0 at first.</param>
    /// <param name="values">Weighted sum of values; zeros at first.</param>
    /// <param name="valueCount">Number of values, a multiple of 16.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Advance(
        float* scores, int width, float scale, float* max, float* sum, float* values, int valueCount)
    {
        Vector512<float> highs = Vector512.Load(scores), moreHighs = Vector512.Load(scores + Lanes);
        for (var i = Panel; i < width; i += Panel)
        {
            highs = Vector512.MaxNative(highs, Vector512.Load(scores + i));
            moreHighs = Vector512.MaxNative(moreHighs, Vector512.Load(scores + i + Lanes));
        }

        var newMax = MathF.Max(*max, VectorMath.Max(Vector512.MaxNative(highs, moreHighs)) * scale);
        var factor = Vector512.Create(scale);
        var offset = Vector512.Create(-newMax);
        var weights = (ushort*)scores;
        Vector512<float> even = default, odd = default;
        for (var i = 0; i < width; i += Panel)
        {
            var w0 = VectorMath.Exp2(Vector512.FusedMultiplyAdd(Vector512.Load(scores + i), factor, offset));
            var w1 = VectorMath.Exp2(Vector512.FusedMultiplyAdd(Vector512.Load(scores + i + Lanes), factor, offset));
            even += w0;
            odd += w1;
            UpperHalves(Rounded(w0), Rounded(w1)).Store(weights + i);
        }

        var rescale = VectorMath.Exp2(Vector512.Create(*max - newMax));
        *sum = (*sum * rescale.ToScalar()) + VectorMath.Sum(even + odd);
        *max = newMax;
        for (var i = 0; i < valueCount; i += Lanes)
        {
            (Vector512.Load(values + i) * rescale).Store(values + i);
        }
    }

    /// <summary>Zero below 2^-126, also what would be rounded up to it, as processors take such numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Rounded(Vector512<float> weights) => Bf16Panels.Rounded(
        Vector512.ConditionalSelect(
            Vector512.LessThan(weights, Vector512.Create(NormalMin)), Vector512<float>.Zero, weights));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ushort> UpperHalves(Vector512<uint> first, Vector512<uint> second) =>
        Avx512BW.IsSupported
            ? Avx512BW.PermuteVar32x16x2(first.AsUInt16(), Vector512.Create(
                (ushort)1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47, 49,
                51, 53, 55, 57, 59, 61, 63), second.AsUInt16())
            : Vector512.Narrow(first >> HalfBits, second >> HalfBits);
}
