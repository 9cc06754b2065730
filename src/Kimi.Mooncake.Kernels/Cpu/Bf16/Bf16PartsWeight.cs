using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// A bfloat16 matrix multiplied with inputs in two parts: the product of the rounded inputs and that of what rounding
/// took away, each as the matrix computes it, are added. Inputs keep 16 digits. Owns the matrix.
/// </summary>
internal sealed unsafe class Bf16PartsWeight : PanelWeight
{
    private const int Parts = 2;
    private const int RowsMax = 128;
    private const int Lanes = MicroKernels.Lanes;

    private readonly Bf16PanelWeight _weight;

    /// <param name="weight">The matrix.</param>
    internal Bf16PartsWeight(Bf16PanelWeight weight)
        : base(weight.OutputSize, weight.InputSize) => _weight = weight;

    internal override ActivationForms Form => ActivationForms.Bf16Parts;

    internal override long ScratchBytes => _weight.ScratchBytes + (Parts * RowsMax * PanelColumns * sizeof(float));

    internal override int RowsPerTask => RowsMax;

    internal override int PanelWork => _weight.PanelWork;

    internal override int PanelsPerTask(int rows) => _weight.PanelsPerTask(Parts * rows);

    internal override void Multiply(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch) =>
        Multiply(panel, panels, x, firstRow, rows, y, ldy, scratch, null);

    internal override void Multiply(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch,
        byte* afterwards)
    {
        var left = x.Bf16Parts + ((long)Parts * firstRow * x.Bf16Stride);
        var sums = (float*)(scratch + _weight.ScratchBytes);
        for (var row = 0; row < rows; row += RowsMax)
        {
            var count = Math.Min(RowsMax, rows - row);
            var from = left + ((long)Parts * row * x.Bf16Stride);
            for (var i = 0; i < panels; i++)
            {
                _weight.MultiplyPanel(
                    panel + i, from, x.Bf16Stride, Parts * count, sums, PanelColumns, scratch,
                    i < panels - 1 || afterwards == null ? _weight.Following(panel + i) : afterwards);
                Add(sums, count, y + (row * ldy) + (i * PanelColumns), ldy);
            }
        }
    }

    internal override byte* PanelStart(int panel) => _weight.PanelStart(panel);

    public override void Dispose() => _weight.Dispose();

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add(float* sums, int rows, float* y, long ldy)
    {
        for (var row = 0; row < rows; row++)
        {
            var rest = sums + PanelColumns;
            (Vector512.Load(sums) + Vector512.Load(rest)).Store(y);
            (Vector512.Load(sums + Lanes) + Vector512.Load(rest + Lanes)).Store(y + Lanes);
            sums = rest + PanelColumns;
            y += ldy;
        }
    }
}
