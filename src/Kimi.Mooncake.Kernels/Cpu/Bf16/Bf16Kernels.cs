using Kimi.Mooncake.Kernels.Cpu.Generated;

namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// Products of bfloat16 rows with panels <c>[k / 2][32][2]</c> of bfloat16, summed in single precision. Every element
/// is one chain: for each pair of k ascending, <c>sum = fma(odd, odd, sum)</c>, then <c>sum = fma(even, even, sum)</c>,
/// where inputs and sums below the smallest normal number are zeros. The bits are the same on every path.
/// </summary>
internal sealed unsafe class Bf16Kernels
{
    // One routine for all kernel sets, as it has no state; it lives as long as the process.
    private static readonly Lazy<MachineCode> Routine = new(() => new MachineCode(Bf16Routine.Write));

    private static readonly Lazy<MachineCode> StreamRoutine = new(() => new MachineCode(Bf16StreamRoutine.Write));

    private static readonly Lazy<MachineCode> SoftmaxRoutine = new(() => new MachineCode(Bf16SoftmaxRoutine.Write));

    private static readonly Lazy<MachineCode> NarrowRoutine =
        new(() => new MachineCode(NarrowBf16Routine.WriteProduct));

    private static readonly Lazy<MachineCode> NarrowRunRoutine =
        new(() => new MachineCode(NarrowBf16Routine.WriteRun));

    // What is asked for ahead lies in the second-level cache beside what is read.
    private const long AheadBytesMax = 512L << 10;

    private readonly MachineCode? _routine;
    private readonly MachineCode? _streamRoutine;
    private readonly MachineCode? _softmaxRoutine;
    private readonly MachineCode? _narrowRoutine;
    private readonly MachineCode? _narrowRunRoutine;

    /// <param name="path">A path that this machine has.</param>
    internal Bf16Kernels(InstructionPath path)
    {
        if (InstructionPaths.HasBf16(path))
        {
            (_routine, _streamRoutine) = (Routine.Value, StreamRoutine.Value);
            _softmaxRoutine = SoftmaxRoutine.Value;
        }

        if (NarrowBf16Format.IsSupported(path))
        {
            (_narrowRoutine, _narrowRunRoutine) = (NarrowRoutine.Value, NarrowRunRoutine.Value);
        }
    }

    /// <summary>Most rows that <see cref="Stream"/> takes; 0 where the path has no such thing.</summary>
    internal int StreamRowsMax => _streamRoutine is null ? 0 : Bf16StreamRoutine.RowsMax;

    /// <summary>Whether weights of <see cref="NarrowBf16Format"/> can be multiplied with.</summary>
    internal bool HasNarrow => _narrowRoutine is not null;

    /// <summary><c>c[r][n] = start + sum over k of a[r][k] * b[k][n]</c>; start is <c>c[r][n]</c> or zero.</summary>
    /// <param name="a">Rows of <c>2 * pairs</c> values.</param>
    /// <param name="lda">Values from one row to the next.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="b">Panel.</param>
    /// <param name="pairs">Pairs of k.</param>
    /// <param name="c">Rows of 32 sums.</param>
    /// <param name="ldc">Values from one row of the result to the next.</param>
    /// <param name="accumulate">Whether the result holds what the sums start with.</param>
    internal void Multiply(
        ushort* a, long lda, int rows, uint* b, int pairs, float* c, long ldc, bool accumulate)
    {
        if (_routine is null)
        {
            Bf16Chains.Multiply(a, lda, rows, b, pairs, c, ldc, accumulate);
            return;
        }

        var product = new Bf16Product
        {
            Left = a,
            LeftStrideBytes = lda * sizeof(ushort),
            Rows = rows,
            Panel = b,
            Pairs = pairs,
            Result = c,
            ResultStrideBytes = ldc * sizeof(float),
            Accumulate = accumulate ? 1 : 0,
        };
        _routine.Call(&product);
    }

    /// <summary>
    /// <c>c[r][n] = sum over k of a[r][k] * stored[n][k]</c> for 16 stored rows, as fast as memory gives them.
    /// </summary>
    /// <param name="stored">First stored row.</param>
    /// <param name="stride">Values from one stored row to the next.</param>
    /// <param name="k">Values to sum, a multiple of 32, above 0.</param>
    /// <param name="a">Rows.</param>
    /// <param name="lda">Values from one row to the next.</param>
    /// <param name="rows">Rows, 1 to <see cref="StreamRowsMax"/>.</param>
    /// <param name="c">Rows of 16 sums.</param>
    /// <param name="ldc">Values from one row of the result to the next.</param>
    /// <param name="ahead">As many stored values that are read next; or null.</param>
    internal void Stream(
        ushort* stored, long stride, int k, ushort* a, long lda, int rows, float* c, long ldc, ushort* ahead)
    {
        var aheadBytes = Bf16StreamRoutine.StoredRows * stride * sizeof(ushort);
        var product = new Bf16Stream
        {
            Stored = stored,
            StoredStrideBytes = stride * sizeof(ushort),
            Left = a,
            LeftStrideBytes = lda * sizeof(ushort),
            Rows = rows,
            Result = c,
            ResultStrideBytes = ldc * sizeof(float),
            Lines = k / Bf16StreamRoutine.LineValues,
            Ahead = aheadBytes <= AheadBytesMax ? ahead : null,
        };
        _streamRoutine!.Call(&product);
    }

    /// <summary>The product of up to 8 rows with a panel of <see cref="NarrowBf16Format"/>.</summary>
    internal void MultiplyNarrow(in NarrowBf16Product product)
    {
        fixed (NarrowBf16Product* arguments = &product)
        {
            _narrowRoutine!.Call(arguments);
        }
    }

    /// <summary>Makes a panel of pairs of some blocks of <see cref="NarrowBf16Format"/>.</summary>
    internal void MakeRun(ref NarrowBf16Run run)
    {
        fixed (NarrowBf16Run* arguments = &run)
        {
            _narrowRunRoutine!.Call(arguments);
        }
    }

    /// <summary>Turns rows of scores into weights in their place and updates the rows' states.</summary>
    internal void Advance(in Bf16SoftmaxRows rows)
    {
        fixed (Bf16SoftmaxRows* arguments = &rows)
        {
            if (_softmaxRoutine is not null)
            {
                _softmaxRoutine.Call(arguments);
                return;
            }
        }

        for (var row = 0L; row < rows.Rows; row++)
        {
            Bf16Softmax.Advance(
                (float*)((byte*)rows.Scores + (row * rows.ScoreStrideBytes)), (int)rows.ScoreBytes / sizeof(float),
                rows.Scale, rows.Maxima + row, rows.Sums + row,
                (float*)((byte*)rows.Values + (row * rows.ValueStrideBytes)), (int)rows.ValueBytes / sizeof(float));
        }
    }
}
