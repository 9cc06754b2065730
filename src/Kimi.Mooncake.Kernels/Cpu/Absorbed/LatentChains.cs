using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>A fused multiply-add of widened bfloat16 values.</summary>
internal interface IBf16Chain
{
    static abstract Vector512<float> Add(Vector512<float> a, Vector512<float> b, Vector512<float> sum);
}

/// <summary>For values of which no product and no sum can be below the smallest normal number.</summary>
internal readonly struct PlainChain : IBf16Chain
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Add(Vector512<float> a, Vector512<float> b, Vector512<float> sum) =>
        Vector512.FusedMultiplyAdd(a, b, sum);
}

/// <summary>For any values: what is below the smallest normal number is zero.</summary>
internal readonly struct FlushingChain : IBf16Chain
{
    private const float NormalMin = 1.17549435e-38f;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Add(Vector512<float> a, Vector512<float> b, Vector512<float> sum) =>
        Flush(Vector512.FusedMultiplyAdd(Flush(a), Flush(b), sum));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Flush(Vector512<float> x) => Vector512.ConditionalSelect(
        Vector512.LessThan(Vector512.Abs(x), Vector512.Create(NormalMin)), x & Vector512.Create(-0f), x);
}

/// <summary>The products of <see cref="LatentKernels"/> for any processor.</summary>
/// <remarks>
/// Zeros in place of small values cost more than the products, so it is looked up first whether there can be any: where
/// the last bits of all products weigh 2^-126 or more, all sums are whole multiples of that.
/// </remarks>
internal static unsafe class LatentChains
{
    internal const int ExponentMax = 512;
    private const int Lanes = 16;
    private const int Side = 2;
    private const int HalfBits = 16;
    private const uint OddMask = 0xffff0000;
    private const ushort MagnitudeMask = 0x7fff;
    private const int MantissaBits = 7;

    // Exponent fields of two factors whose product's last bit weighs 2^-126: 2 * 127 - 126 + 2 * 7.
    private const int ExponentsMin = 142;

    /// <summary>Whether products of values with these least exponents need no zeros in place of small values.</summary>
    internal static bool IsPlain(int left, int right) => left > 0 && right > 0 && left + right >= ExponentsMin;

    /// <summary>The least exponent field of values other than zero; <see cref="ExponentMax"/> without any.</summary>
    internal static int LeastExponent(ushort* values, int count)
    {
        // Less one, so that zeros are the greatest.
        var least = Vector512<ushort>.AllBitsSet;
        var i = 0;
        for (; i + Vector512<ushort>.Count <= count; i += Vector512<ushort>.Count)
        {
            var magnitude = Vector512.Load(values + i) & Vector512.Create(MagnitudeMask);
            least = Vector512.Min(least, magnitude - Vector512<ushort>.One);
        }

        var result = ushort.MaxValue;
        for (var lane = 0; lane < Vector512<ushort>.Count; lane++)
        {
            result = Math.Min(result, least.GetElement(lane));
        }

        for (; i < count; i++)
        {
            result = Math.Min(result, (ushort)((values[i] & MagnitudeMask) - 1));
        }

        return (result + 1) >> MantissaBits;
    }

    internal static void Score<TChain>(in LatentScores call)
        where TChain : struct, IBf16Chain
    {
        for (var key = 0; key < call.KeyGroups * LatentKernels.KeyGroup; key += Side)
        {
            for (var head = 0; head < LatentKernels.Heads; head += Side)
            {
                var queries = (byte*)call.Queries + (head * call.QueryStrideBytes);
                var target = (float*)((byte*)call.Scores + (head * call.ScoreStrideBytes)) + key;
                Score2By2<TChain>(
                    queries, queries + call.QueryStrideBytes, call.Keys + (key * call.KeyStrideBytes),
                    call.KeyStrideBytes, (int)call.Steps, target,
                    (float*)((byte*)target + call.ScoreStrideBytes));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Sum<TChain>(in LatentSums call)
        where TChain : struct, IBf16Chain
    {
        for (var block = 0; block < call.Blocks * LatentKernels.StepValues; block += Lanes)
        {
            Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
            Vector512<float> s4 = default, s5 = default, s6 = default, s7 = default;
            var weights = (uint*)call.Weights;
            for (var run = 0; run < call.RunCount; run++)
            {
                ref readonly var rows = ref call.Runs[run];
                var first = rows.First + (block * sizeof(ushort));
                for (var pair = 0L; pair < rows.Pairs; pair++)
                {
                    var even = Widened(first);
                    var odd = Widened(first + rows.SecondOffsetBytes);
                    s0 = Both<TChain>(even, odd, weights, 0, s0);
                    s1 = Both<TChain>(even, odd, weights, 1, s1);
                    s2 = Both<TChain>(even, odd, weights, 2, s2);
                    s3 = Both<TChain>(even, odd, weights, 3, s3);
                    s4 = Both<TChain>(even, odd, weights, 4, s4);
                    s5 = Both<TChain>(even, odd, weights, 5, s5);
                    s6 = Both<TChain>(even, odd, weights, 6, s6);
                    s7 = Both<TChain>(even, odd, weights, 7, s7);
                    first += call.PairStrideBytes;
                    weights++;
                }
            }

            Finish(call, block, 0, s0);
            Finish(call, block, 1, s1);
            Finish(call, block, 2, s2);
            Finish(call, block, 3, s3);
            Finish(call, block, 4, s4);
            Finish(call, block, 5, s5);
            Finish(call, block, 6, s6);
            Finish(call, block, 7, s7);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Score2By2<TChain>(
        byte* q0, byte* q1, byte* key, long keyStrideBytes, int steps, float* target0, float* target1)
        where TChain : struct, IBf16Chain
    {
        Vector512<float> s00 = default, s01 = default, s10 = default, s11 = default;
        var next = key + keyStrideBytes;
        for (var offset = 0L; offset < steps * (long)Lanes; offset += Lanes)
        {
            var (a0, a1) = (Vector512.Load((uint*)q0 + offset), Vector512.Load((uint*)q1 + offset));
            var (b0, b1) = (Vector512.Load((uint*)key + offset), Vector512.Load((uint*)next + offset));
            s00 = TChain.Add(Odd(a0), Odd(b0), s00);
            s01 = TChain.Add(Odd(a0), Odd(b1), s01);
            s10 = TChain.Add(Odd(a1), Odd(b0), s10);
            s11 = TChain.Add(Odd(a1), Odd(b1), s11);
            s00 = TChain.Add(Even(a0), Even(b0), s00);
            s01 = TChain.Add(Even(a0), Even(b1), s01);
            s10 = TChain.Add(Even(a1), Even(b0), s10);
            s11 = TChain.Add(Even(a1), Even(b1), s11);
        }

        (target0[0], target0[1]) = (VectorMath.Sum(s00), VectorMath.Sum(s01));
        (target1[0], target1[1]) = (VectorMath.Sum(s10), VectorMath.Sum(s11));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Odd(Vector512<uint> pairs) => (pairs & Vector512.Create(OddMask)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Even(Vector512<uint> pairs) => (pairs << HalfBits).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Widened(byte* values)
    {
        var words = Vector256.Load((ushort*)values);
        var (low, high) = Vector256.Widen(words);
        return (Vector512.Create(low, high) << HalfBits).AsSingle();
    }

    /// <summary>A pair of keys, of which the odd one comes first.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Both<TChain>(
        Vector512<float> even, Vector512<float> odd, uint* weights, int head, Vector512<float> sum)
        where TChain : struct, IBf16Chain
    {
        var pair = weights[head * LatentKernels.WeightStride / 2];
        sum = TChain.Add(odd, Vector512.Create(BitConverter.UInt32BitsToSingle(pair & OddMask)), sum);
        return TChain.Add(even, Vector512.Create(BitConverter.UInt32BitsToSingle(pair << HalfBits)), sum);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Finish(in LatentSums call, int block, int head, Vector512<float> sum)
    {
        var target = (float*)((byte*)call.Sums + (head * call.SumStrideBytes)) + block;
        Vector512.FusedMultiplyAdd(Vector512.Create(call.Rescale[head]), Vector512.Load(target), sum).Store(target);
    }
}
