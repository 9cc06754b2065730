using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>The softmax of <see cref="ByteKernels"/> for any processor.</summary>
internal static unsafe class ByteSoftmax
{
    /// <summary>Greatest weight in one row, and in two.</summary>
    internal const float Levels = 255;
    internal const float MoreLevels = 65535;

    /// <summary>What a unit of the upper of two rows is worth in units of the lower.</summary>
    internal const float UpperUnit = 256;

    /// <summary>Weights in two parts: where a weight is above this share of the sum, were all scales alike.</summary>
    internal const float HeavyShare = 0.0625f;

    /// <summary>Keys whose weights are rounded at once.</summary>
    internal const int BlockKeys = 64;

    private const int Lanes = 16;
    private const int Heads = KeyTiles.Heads;
    private const int ByteBits = 8;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Weigh(ref ByteWeights call)
    {
        var width = (int)(call.ScoreBytes / sizeof(float));
        for (var head = 0; head < Heads; head++)
        {
            var weights = call.Scores + (head * ByteKernels.ScoreStride);
            var before = call.Maxima[head];
            OnlineSoftmax.Advance(weights, width, width, call.Scale, call.Maxima + head, call.Sums + head, null, 0);
            call.Rescale[head] = VectorMath.Exp2(Vector512.Create(before - call.Maxima[head])).ToScalar();
            var highs = Vector512.Load(weights);
            for (var key = Lanes; key < width; key += Lanes)
            {
                highs = Vector512.MaxNative(highs, Vector512.Load(weights + key));
            }

            var greatest = VectorMath.Max(highs);
            var isHeavy = greatest * call.Spread > call.Sums[head];
            var levels = isHeavy ? MoreLevels : Levels;
            var factor = greatest >= LatentSoftmax.WeightMin ? levels / greatest : 0;
            var upper = call.Weights + (head * ByteRows.Bytes);
            var lower = isHeavy ? LowRow(call) : upper;
            for (var group = 0; group < call.Groups; group++)
            {
                Round(
                    weights, factor, call.KeyScales + (group * KeyTiles.TileKeys), width, levels,
                    upper + (group * ByteRows.GroupBytes), lower + (group * ByteRows.GroupBytes));
            }

            Units(call, head, greatest / levels, isHeavy);
            if (isHeavy)
            {
                call.LowOffsets[call.LowRows] = call.SumOffset + (head * call.SumStrideBytes);
                call.LowRows++;
            }
        }
    }

    /// <summary>Where the next lower row's weights are.</summary>
    private static byte* LowRow(in ByteWeights call)
    {
        var (batch, row) = Math.DivRem(call.LowRows, ByteRows.Count);
        return call.LowWeights + (batch * call.Groups * ByteRows.GroupBytes) + (row * ByteRows.Bytes);
    }

    private static void Units(in ByteWeights call, int head, float unit, bool isHeavy)
    {
        var (batch, row) = Math.DivRem(call.LowRows, ByteRows.Count);
        for (var group = 0; group < call.Groups; group++)
        {
            var worth = unit * call.GroupScales[group];
            call.Units[(group * ByteRows.Count) + head] = isHeavy ? worth * UpperUnit : worth;
            if (isHeavy)
            {
                call.LowUnits[(((batch * call.Groups) + group) * ByteRows.Count) + row] = worth;
            }
        }
    }

    /// <summary>Upper and lower bytes; only the latter where both have the same target.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Round(
        float* weights, float factor, float* scales, int width, float levels, byte* upper, byte* lower)
    {
        var most = Vector512.Create((int)levels);
        for (var key = 0; key < width; key += Lanes)
        {
            var exact = Vector512.Load(weights + key) * Vector512.Create(factor) * Vector512.Load(scales + key);
            var rounded = Vector512.Min(Vector512.ConvertToInt32(Vector512.Round(exact)), most).AsUInt32();
            Bytes(rounded >> ByteBits).Store(upper + key);
            Bytes(rounded & Vector512.Create((uint)byte.MaxValue)).Store(lower + key);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> Bytes(Vector512<uint> values)
    {
        var words = Vector256.Narrow(values.GetLower(), values.GetUpper());
        return Vector128.Narrow(words.GetLower(), words.GetUpper());
    }
}
