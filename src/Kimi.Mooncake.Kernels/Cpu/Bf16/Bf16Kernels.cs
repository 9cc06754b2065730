using Kimi.Mooncake.Kernels.Cpu.Generated;

namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// Products of bfloat16 rows with panels <c>[k / 2][32][2]</c> of bfloat16, summed in single precision. Every element is
/// one chain: for each pair of k ascending, <c>sum = fma(odd, odd, sum)</c>, then <c>sum = fma(even, even, sum)</c>,
/// where inputs and sums below the smallest normal number are zeros. The bits are the same on every path.
/// </summary>
internal sealed unsafe class Bf16Kernels
{
    // One routine for all kernel sets, as it has no state; it lives as long as the process.
    private static readonly Lazy<MachineCode> Routine = new(() => new MachineCode(Bf16Routine.Write));

    private readonly MachineCode? _routine;

    /// <param name="path">A path that this machine has.</param>
    internal Bf16Kernels(InstructionPath path) =>
        _routine = path >= InstructionPath.Avx512 ? Routine.Value : null;

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
}
