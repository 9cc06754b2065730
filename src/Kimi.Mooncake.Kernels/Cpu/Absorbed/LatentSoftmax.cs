using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>What the weights of eight heads take; the routine knows these offsets.</summary>
internal unsafe struct LatentWeights
{
    /// <summary>Scores; hidden ones are negative infinity.</summary>
    internal float* Scores;
    internal long ScoreStrideBytes;

    /// <summary>Bytes of a head's weights, a multiple of 64: of scores 32, the first of which is finite.</summary>
    internal long WeightBytes;
    internal ushort* Weights;

    /// <summary>Running maxima; negative infinity at first.</summary>
    internal float* Maxima;

    /// <summary>Running sums of the weights before they are rounded; 0 at first.</summary>
    internal float* Sums;

    /// <summary>Receives the factors of what was summed with the maxima before.</summary>
    internal float* Rescale;

    /// <summary>Factor of the scores times the base-2 logarithm of e; above 0.</summary>
    internal float Scale;
}

/// <summary>The softmax of <see cref="LatentKernels"/> for any processor.</summary>
internal static unsafe class LatentSoftmax
{
    /// <summary>2^-40: weights below are zero.</summary>
    internal const float WeightMin = 9.094947e-13f;

    private const int Lanes = 16;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Weigh(in LatentWeights call)
    {
        var width = (int)(call.WeightBytes / sizeof(ushort));
        for (var head = 0; head < LatentKernels.Heads; head++)
        {
            var scores = (float*)((byte*)call.Scores + (head * call.ScoreStrideBytes));
            var before = call.Maxima[head];
            OnlineSoftmax.Advance(
                scores, width, width, call.Scale, call.Maxima + head, call.Sums + head, null, 0);
            call.Rescale[head] = VectorMath.Exp2(Vector512.Create(before - call.Maxima[head])).ToScalar();
            for (var key = 0; key < width; key += Lanes)
            {
                var weight = Vector512.Load(scores + key);
                Vector512.ConditionalSelect(
                    Vector512.LessThan(weight, Vector512.Create(WeightMin)), Vector512<float>.Zero, weight)
                    .Store(scores + key);
            }

            ActivationRows.EncodeBf16(scores, width, call.Weights + (head * LatentKernels.WeightStride), width);
        }
    }
}
