using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using static Kimi.Mooncake.Kernels.Cpu.Bf16.NarrowBf16Format;

namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>Writes panels of <see cref="NarrowBf16Format"/>: what exponents there are first, then the values.</summary>
internal static unsafe class NarrowBf16Encoder
{
    /// <summary>Bytes of scratch for <see cref="Encode"/>: a run of inputs as a panel of pairs.</summary>
    internal const int ScratchBytes = RunInputs * Panel * sizeof(ushort);

    private const int RunInputs = 256;
    private const int Exponents = 256;
    private const int FractionBits = 7;
    private const int SignShift = 15;
    private const int Tables = 4;
    private const int WordValues = sizeof(ulong) / sizeof(ushort);
    private const int ValueBits = 16;

    /// <summary>Chooses the exponents of both groups of a panel.</summary>
    /// <param name="weight">The matrix.</param>
    /// <param name="panel">Index of the panel.</param>
    /// <param name="exponents">Receives those of each group by code; the one of code 0 is 0.</param>
    /// <returns>How many values have another exponent.</returns>
    internal static long Survey(in TensorData weight, int panel, byte* exponents)
    {
        var written = 0L;
        var counts = stackalloc int[Tables * Exponents];
        var sums = new Span<int>(counts, Exponents);
        for (var group = 0; group < Groups; group++)
        {
            var first = ((long)panel * Panel) + (group * Group);
            var rows = (int)Math.Clamp(weight.Rows - first, 0, Group);
            new Span<int>(counts, Tables * Exponents).Clear();
            if (rows > 0)
            {
                Count((ulong*)weight.At(first, 0), (long)rows * weight.Columns / WordValues, counts);
            }

            sums[0] += (Group - rows) * weight.Columns;
            written += (long)Group * weight.Columns;
            exponents[group * Codes] = 0;
            for (var code = 1; code < Codes; code++)
            {
                var most = TensorPrimitives.IndexOfMax(sums);
                exponents[(group * Codes) + code] = (byte)most;
                written -= sums[most];
                sums[most] = 0;
            }
        }

        return written;
    }

    /// <summary>Writes a panel.</summary>
    /// <param name="weight">The matrix.</param>
    /// <param name="panel">Index of the panel.</param>
    /// <param name="exponents">Those of each group by code.</param>
    /// <param name="written">How many values have another one.</param>
    /// <param name="scratch"><see cref="ScratchBytes"/> bytes, aligned to 64.</param>
    /// <param name="target">Receives <see cref="PanelBytes"/> bytes; aligned to 64.</param>
    internal static void Encode(
        in TensorData weight, int panel, byte* exponents, long written, uint* scratch, byte* target)
    {
        var bytes = WrittenBytes(written);
        Unsafe.CopyBlock(target, exponents, Groups * Codes);
        *(long*)(target + WrittenAt) = bytes;
        var codes = stackalloc byte[Groups * Exponents];
        for (var i = 0; i < Groups * Codes; i++)
        {
            // Code 0 stays where an exponent has none; of equal ones the last does as well as the first.
            if (i % Codes > 0)
            {
                codes[(i / Codes * Exponents) + exponents[i]] = (byte)(i % Codes);
            }
        }

        var first = (long)panel * Panel;
        var rows = (int)Math.Min(Panel, weight.Rows - first);
        var output = new Output(target + HeaderBytes, Blocks(target));
        for (var k = 0; k < weight.Columns; k += RunInputs)
        {
            var inputs = Math.Min(RunInputs, weight.Columns - k);
            var ahead = k + RunInputs < weight.Columns ? RunInputs : ((long)Panel * weight.Columns) - k;
            Bf16Panels.FromRows((ushort*)weight.At(first, k), weight.Columns, rows, inputs, ahead, scratch);
            for (var i = 0; i < inputs; i += BlockInputs)
            {
                EncodeBlock((byte*)scratch + (i * Panel * sizeof(ushort)), codes, ref output);
            }
        }
    }

    /// <summary>Adds up how often each exponent occurs; values in turn are counted in four tables.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Count(ulong* values, long words, int* counts)
    {
        for (var i = 0L; i < words; i++)
        {
            var word = values[i] >> FractionBits;
            counts[(byte)word]++;
            counts[Exponents + (byte)(word >> ValueBits)]++;
            counts[(2 * Exponents) + (byte)(word >> (2 * ValueBits))]++;
            counts[(3 * Exponents) + (byte)(word >> (3 * ValueBits))]++;
        }

        var sums = new Span<int>(counts, Exponents);
        for (var table = 1; table < Tables; table++)
        {
            TensorPrimitives.Add(sums, new ReadOnlySpan<int>(counts + (table * Exponents), Exponents), sums);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void EncodeBlock(byte* values, byte* codes, ref Output output)
    {
        var block = output.Block;
        var own = stackalloc Vector512<byte>[Quarters];
        for (var quarter = 0; quarter < Quarters; quarter++)
        {
            var both = Vector512<byte>.Zero;
            for (var group = 0; group < Groups; group++)
            {
                var at = values + (quarter * 2 * QuarterBytes) + (group * VectorBytes);
                var (even, odd) = (Vector512.Load((ushort*)at), Vector512.Load((ushort*)(at + QuarterBytes)));
                Join(Rest(even), Rest(odd)).Store(block + (quarter * QuarterBytes) + (group * VectorBytes));
                var exponents = Join(Exponent(even), Exponent(odd));
                var code = CodesOf(exponents, codes + (group * NarrowBf16Encoder.Exponents));
                both |= Vector512.ShiftLeft(code.AsUInt16(), group * CodeBits).AsByte();
                output.Write(exponents, Vector512.Equals(code, Vector512<byte>.Zero).ExtractMostSignificantBits());
            }

            own[quarter] = both;
        }

        for (var i = 0; i < CodeVectors; i++)
        {
            var two = Vector512.ShiftRightLogical(own[Quarters - 1].AsUInt16(), 2 * i).AsByte()
                & Vector512.Create((byte)3);
            (own[i] | Vector512.ShiftLeft(two.AsUInt16(), OwnBits).AsByte())
                .Store(block + CodesAt + (i * VectorBytes));
        }

        output.Block += BlockBytes;
    }

    private static Vector512<ushort> Rest(Vector512<ushort> x) =>
        ((x & Vector512.Create((ushort)0x7f)) << 1) | (x >> SignShift);

    private static Vector512<ushort> Exponent(Vector512<ushort> x) =>
        (x >> FractionBits) & Vector512.Create((ushort)0xff);

    /// <summary>Eight bytes of either in turn.</summary>
    private static Vector512<byte> Join(Vector512<ushort> even, Vector512<ushort> odd) =>
        Avx512BW.PackUnsignedSaturate(even.AsInt16(), odd.AsInt16());

    /// <summary>Looks up bytes in a table of 256.</summary>
    private static Vector512<byte> CodesOf(Vector512<byte> exponents, byte* codes)
    {
        var low = Avx512Vbmi.PermuteVar64x8x2(
            Vector512.Load(codes), exponents, Vector512.Load(codes + VectorBytes));
        var high = Avx512Vbmi.PermuteVar64x8x2(
            Vector512.Load(codes + (2 * VectorBytes)), exponents, Vector512.Load(codes + (3 * VectorBytes)));
        return Vector512.ConditionalSelect(
            Vector512.LessThan(exponents.AsSByte(), Vector512<sbyte>.Zero).AsByte(), high, low);
    }

    /// <summary>Where exponents and blocks go on.</summary>
    private ref struct Output(byte* written, byte* block)
    {
        private byte* _written = written;

        internal byte* Block { get; set; } = block;

        internal void Write(Vector512<byte> exponents, ulong which)
        {
            for (; which != 0; which &= which - 1)
            {
                *_written++ = exponents[System.Numerics.BitOperations.TrailingZeroCount(which)];
            }
        }
    }
}
