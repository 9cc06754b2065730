using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// Softmax over keys that arrive tile by tile: the running maximum (of scaled scores, base 2), the running sum, and the
/// weighted sum of values, which is rescaled when the maximum grows.
/// </summary>
internal static unsafe class OnlineSoftmax
{
    private const int Lanes = MicroKernels.Lanes;
    private const int Panel = MicroKernels.PanelColumns;

    /// <summary>
    /// Turns a row's scores of a tile into weights and updates the row's state. Hidden keys get the weight 0, so that
    /// a row's bits do not depend on how many keys beyond its own were in the tile.
    /// </summary>
    /// <param name="scores">Scores in, weights out; room for <paramref name="width"/> values.</param>
    /// <param name="visible">Leading scores that count, at least 1.</param>
    /// <param name="width">Weights wanted, a multiple of 32, at least <paramref name="visible"/>.</param>
    /// <param name="scale">Factor of the scores times the base-2 logarithm of e; above 0.</param>
    /// <param name="max">Running maximum; negative infinity at first.</param>
    /// <param name="sum">Running sum; 0 at first.</param>
    /// <param name="values">Weighted sum of values; zeros at first.</param>
    /// <param name="valueCount">Number of values, a multiple of 16.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Advance(
        float* scores, int visible, int width, float scale, float* max, float* sum, float* values, int valueCount)
    {
        var seen = (visible + Panel - 1) / Panel * Panel;
        for (var i = visible; i < seen; i++)
        {
            scores[i] = float.NegativeInfinity;
        }

        var highs = Vector512.Create(float.NegativeInfinity);
        var moreHighs = highs;
        for (var i = 0; i < seen; i += Panel)
        {
            highs = Vector512.MaxNative(highs, Vector512.Load(scores + i));
            moreHighs = Vector512.MaxNative(moreHighs, Vector512.Load(scores + i + Lanes));
        }

        var newMax = MathF.Max(*max, VectorMath.Max(Vector512.MaxNative(highs, moreHighs)) * scale);
        var factor = Vector512.Create(scale);
        var offset = Vector512.Create(-newMax);
        Vector512<float> even = default, odd = default;
        for (var i = 0; i < seen; i += Panel)
        {
            var w0 = VectorMath.Exp2(Vector512.FusedMultiplyAdd(Vector512.Load(scores + i), factor, offset));
            var w1 = VectorMath.Exp2(Vector512.FusedMultiplyAdd(Vector512.Load(scores + i + Lanes), factor, offset));
            w0.Store(scores + i);
            w1.Store(scores + i + Lanes);
            even += w0;
            odd += w1;
        }

        for (var i = seen; i < width; i += Lanes)
        {
            Vector512<float>.Zero.Store(scores + i);
        }

        var rescale = VectorMath.Exp2(Vector512.Create(*max - newMax));
        *sum = (*sum * rescale.ToScalar()) + VectorMath.Sum(even + odd);
        *max = newMax;
        for (var i = 0; i < valueCount; i += Lanes)
        {
            (Vector512.Load(values + i) * rescale).Store(values + i);
        }
    }
}
