using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>Vectors of the runtime on any processor: bytes widened to 16 bits, products added in pairs.</summary>
internal sealed unsafe class PortableInt8(TileFormat format) : Int8Kernel
{
    private const int Groups = 8;
    private const int Lanes = 16;
    private readonly int _sums = format.Kind == TileKind.Halves ? 2 : 1;

    internal override void Multiply(in Int8Run run)
    {
        for (var row = 0L; row < run.Rows; row++)
        {
            Row(run.From(row, _sums));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Row(in Int8Run run)
    {
        Vector512<float> left = default, right = default;
        if (run.Accumulate != 0)
        {
            (left, right) = (Vector512.Load(run.Y), Vector512.Load(run.Y + Lanes));
        }

        var tile = run.Tile;
        for (var block = 0; block < run.Blocks; block++)
        {
            var x = run.X + (block * WeightTile.BlockValues);
            var scale = Vector512.Create(run.Scales[block]);
            var scales = (float*)(tile + WeightTile.ScalesAt);
            var second = (float*)(tile + WeightTile.SecondAt);
            if (_sums == 2)
            {
                var (start, upperStart) = (
                    run.Sums[2 * block] << format.ZeroShift, run.Sums[(2 * block) + 1] << format.ZeroShift);
                Add(tile, x, Groups / 2, start, scales, scale, ref left, ref right);
                Add(
                    tile + (Groups / 2 * WeightTile.GroupBytes), x + Lanes, Groups / 2, upperStart, second, scale,
                    ref left, ref right);
            }
            else
            {
                var start = format.Kind == TileKind.Minimum ? 0 : run.Sums[block] << format.ZeroShift;
                Add(tile, x, Groups, start, scales, scale, ref left, ref right);
                if (format.Kind == TileKind.Minimum)
                {
                    var sum = Vector512.Create(run.ScaledSums[block]);
                    left = Vector512.FusedMultiplyAdd(Vector512.Load(second), sum, left);
                    right = Vector512.FusedMultiplyAdd(Vector512.Load(second + Lanes), sum, right);
                }
            }

            tile += format.BlockBytes;
        }

        left.Store(run.Y);
        right.Store(run.Y + Lanes);
    }

    /// <summary>Groups of four inputs of 32 outputs under one scale.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(
        byte* weights,
        sbyte* x,
        int groups,
        int start,
        float* scales,
        Vector512<float> scale,
        ref Vector512<float> left,
        ref Vector512<float> right)
    {
        Vector512<int> leftSum = Vector512.Create(start), rightSum = leftSum;
        for (var group = 0; group < groups; group++)
        {
            var inputs = Vector512.Create(((int*)x)[group]).AsInt16();
            var (even, odd) = ((inputs << 8) >> 8, inputs >> 8);
            var at = weights + (group * WeightTile.GroupBytes);
            leftSum += Dot(Vector512.Load((ushort*)at), even, odd);
            rightSum += Dot(Vector512.Load((ushort*)(at + WeightTile.HalfBytes)), even, odd);
        }

        left = Vector512.FusedMultiplyAdd(
            Vector512.ConvertToSingle(leftSum), Vector512.Load(scales) * scale, left);
        right = Vector512.FusedMultiplyAdd(
            Vector512.ConvertToSingle(rightSum), Vector512.Load(scales + Lanes) * scale, right);
    }

    /// <summary>Four unsigned bytes of each lane by four signed ones.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<int> Dot(Vector512<ushort> weights, Vector512<short> even, Vector512<short> odd)
    {
        var evenWeights = (weights & Vector512.Create((ushort)0xff)).AsInt16();
        var oddWeights = (weights >>> 8).AsInt16();
        return Pairs(evenWeights, even) + Pairs(oddWeights, odd);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Pairs(Vector512<short> a, Vector512<short> b)
    {
        if (Avx512BW.IsSupported)
        {
            return Avx512BW.MultiplyAddAdjacent(a, b);
        }

        return Avx2.IsSupported
            ? Vector512.Create(
                Avx2.MultiplyAddAdjacent(a.GetLower(), b.GetLower()),
                Avx2.MultiplyAddAdjacent(a.GetUpper(), b.GetUpper()))
            : PairsByShifts(a, b);
    }

    /// <summary>The same for factors whose product fits 16 bits, as those of two bytes do.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<int> PairsByShifts(Vector512<short> a, Vector512<short> b)
    {
        var products = (a * b).AsInt32();
        return ((products << 16) >> 16) + (products >> 16);
    }
}
