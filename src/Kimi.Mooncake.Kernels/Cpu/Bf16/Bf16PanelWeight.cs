namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>A matrix of bfloat16 values, in whatever form they are kept, panel by panel.</summary>
internal abstract unsafe class Bf16PanelWeight(int outputSize, int inputSize) : PanelWeight(outputSize, inputSize)
{
    /// <summary>Rows that are multiplied while weights stream by, in two passes.</summary>
    protected const int FewRows = 16;

    /// <summary>Inputs of a run of a panel, 16 KiB, which stay in the first-level cache for all rows.</summary>
    protected const int RunValues = 256;

    private const int RowsMax = 256;
    private const int PanelsOfFewRows = 4;

    internal sealed override ActivationForms Form => ActivationForms.Bf16;

    internal sealed override long ScratchBytes => RunValues * PanelColumns * sizeof(ushort);

    internal sealed override int RowsPerTask => RowsMax;

    internal sealed override int PanelWork => 4;

    internal sealed override int PanelsPerTask(int rows) => rows <= FewRows ? PanelsOfFewRows : 1;

    internal sealed override void Multiply(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch) =>
        Multiply(panel, panels, x, firstRow, rows, y, ldy, scratch, null);

    internal sealed override void Multiply(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch,
        byte* afterwards)
    {
        var left = x.Bf16 + ((long)firstRow * x.Bf16Stride);
        for (var i = panel; i < panel + panels; i++)
        {
            MultiplyPanel(
                i, left, x.Bf16Stride, rows, y + ((i - panel) * PanelColumns), ldy, scratch,
                i < panel + panels - 1 || afterwards == null ? Following(i) : afterwards);
        }
    }

    /// <summary>Where the values of a panel end, and other ones may begin.</summary>
    internal abstract byte* Following(int panel);

    /// <summary>The product of rows with one panel.</summary>
    /// <param name="panel">The panel.</param>
    /// <param name="left">Rows.</param>
    /// <param name="stride">Values from one row to the next.</param>
    /// <param name="rows">How many.</param>
    /// <param name="y">Receives 32 results for each row.</param>
    /// <param name="ldy">Values from one row of the results to the next.</param>
    /// <param name="scratch"><see cref="ScratchBytes"/> bytes, aligned to 64.</param>
    /// <param name="next">What may be asked for from memory towards the end; or null.</param>
    internal abstract void MultiplyPanel(
        int panel, ushort* left, long stride, int rows, float* y, long ldy, byte* scratch, byte* next);
}
