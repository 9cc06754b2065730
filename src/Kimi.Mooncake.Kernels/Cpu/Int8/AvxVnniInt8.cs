using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>Vectors of 256 bits: two rows by 16 outputs, in the 16 registers that every such processor has.</summary>
internal sealed unsafe class AvxVnniInt8(TileFormat format) : Int8Kernel
{
    private const int Groups = 8;
    private const int Lanes = 8;
    private const int HalfOutputs = WeightTile.HalfOutputs;
    private readonly int _sums = format.Kind == TileKind.Halves ? 2 : 1;

    internal override void Multiply(in Int8Run run)
    {
        var row = 0L;
        for (; row < run.Rows; row += 2)
        {
            // A row without a neighbour is its own.
            var first = run.From(row, _sums);
            var second = run.From(Math.Min(row + 1, run.Rows - 1), _sums);
            for (var half = 0; half < 2; half++)
            {
                Rows2(first, second, half);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Rows2(in Int8Run a, in Int8Run b, int half)
    {
        var ya = a.Y + (half * HalfOutputs);
        var yb = b.Y + (half * HalfOutputs);
        Vector256<float> a0 = default, a1 = default, b0 = default, b1 = default;
        if (a.Accumulate != 0)
        {
            (a0, a1) = (Vector256.Load(ya), Vector256.Load(ya + Lanes));
            (b0, b1) = (Vector256.Load(yb), Vector256.Load(yb + Lanes));
        }

        var tile = a.Tile + (half * WeightTile.HalfBytes);
        var scales = (float*)(a.Tile + WeightTile.ScalesAt) + (half * HalfOutputs);
        var groups = Groups / _sums;
        for (var block = 0; block < a.Blocks; block++)
        {
            var xa = a.X + (block * WeightTile.BlockValues);
            var xb = b.X + (block * WeightTile.BlockValues);
            for (var part = 0; part < _sums; part++)
            {
                var sum = (block * _sums) + part;
                var starts = format.Kind == TileKind.Minimum
                    ? (0, 0)
                    : (a.Sums[sum] << format.ZeroShift, b.Sums[sum] << format.ZeroShift);
                var sums = new Sums2(starts);
                sums.Add(tile + (part * groups * WeightTile.GroupBytes), xa, xb, groups);
                xa += 4 * groups;
                xb += 4 * groups;
                var of = scales + (part * WeightTile.Outputs);
                Vector256<float> s0 = Vector256.Load(of), s1 = Vector256.Load(of + Lanes);
                var (fa, fb) = (Vector256.Create(a.Scales[block]), Vector256.Create(b.Scales[block]));
                a0 = Fma.MultiplyAdd(Vector256.ConvertToSingle(sums.A0), s0 * fa, a0);
                a1 = Fma.MultiplyAdd(Vector256.ConvertToSingle(sums.A1), s1 * fa, a1);
                b0 = Fma.MultiplyAdd(Vector256.ConvertToSingle(sums.B0), s0 * fb, b0);
                b1 = Fma.MultiplyAdd(Vector256.ConvertToSingle(sums.B1), s1 * fb, b1);
            }

            if (format.Kind == TileKind.Minimum)
            {
                var of = scales + WeightTile.Outputs;
                Vector256<float> m0 = Vector256.Load(of), m1 = Vector256.Load(of + Lanes);
                var (na, nb) = (Vector256.Create(a.ScaledSums[block]), Vector256.Create(b.ScaledSums[block]));
                (a0, a1) = (Fma.MultiplyAdd(m0, na, a0), Fma.MultiplyAdd(m1, na, a1));
                (b0, b1) = (Fma.MultiplyAdd(m0, nb, b0), Fma.MultiplyAdd(m1, nb, b1));
            }

            tile += format.BlockBytes;
            scales += format.BlockBytes / sizeof(float);
        }

        a0.Store(ya);
        a1.Store(ya + Lanes);
        b0.Store(yb);
        b1.Store(yb + Lanes);
    }

    /// <summary>Sums of two rows by 16 outputs.</summary>
    private ref struct Sums2((int A, int B) starts)
    {
        internal Vector256<int> A0 = Vector256.Create(starts.A);
        internal Vector256<int> A1 = Vector256.Create(starts.A);
        internal Vector256<int> B0 = Vector256.Create(starts.B);
        internal Vector256<int> B1 = Vector256.Create(starts.B);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        internal void Add(byte* weights, sbyte* xa, sbyte* xb, int groups)
        {
            var (a0, a1, b0, b1) = (A0, A1, B0, B1);
            for (var group = 0; group < groups; group++)
            {
                var at = weights + (group * WeightTile.GroupBytes);
                Vector256<byte> w0 = Vector256.Load(at), w1 = Vector256.Load(at + Vector256<byte>.Count);
                var fourA = Vector256.Create(((int*)xa)[group]).AsSByte();
                var fourB = Vector256.Create(((int*)xb)[group]).AsSByte();
                a0 = AvxVnni.MultiplyWideningAndAdd(a0, w0, fourA);
                a1 = AvxVnni.MultiplyWideningAndAdd(a1, w1, fourA);
                b0 = AvxVnni.MultiplyWideningAndAdd(b0, w0, fourB);
                b1 = AvxVnni.MultiplyWideningAndAdd(b1, w1, fourB);
            }

            (A0, A1, B0, B1) = (a0, a1, b0, b1);
        }
    }
}
