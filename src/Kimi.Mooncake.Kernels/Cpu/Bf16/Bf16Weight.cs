namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// A bfloat16 matrix where it is stored. Few rows are multiplied while it streams by; for many a run of k of 32 outputs
/// is turned into a panel, while the next run is on its way from memory.
/// </summary>
internal sealed unsafe class Bf16Weight : PanelWeight
{
    // A run of a panel, 16 KiB, stays in the first-level cache while the rows of a task go over it.
    private const int RunValues = 256;
    private const int RowsMax = 256;
    private const int FewRows = 8;
    private const int PanelsOfFewRows = 4;

    private readonly Bf16Kernels _kernels;
    private readonly TensorData _stored;

    /// <param name="weight">Matrix of type <see cref="TensorType.BF16"/>; its memory must outlive this.</param>
    /// <param name="kernels">Products.</param>
    internal Bf16Weight(in TensorData weight, Bf16Kernels kernels)
        : base(checked((int)weight.Rows), weight.Columns)
    {
        if (weight.Type != TensorType.BF16)
        {
            throw new ArgumentException($"the weight is {weight.Type}; expected {TensorType.BF16}", nameof(weight));
        }

        (_stored, _kernels) = (weight, kernels);
    }

    internal override ActivationForms Form => ActivationForms.Bf16;

    internal override long ScratchBytes => RunValues * PanelColumns * sizeof(ushort);

    internal override int RowsPerTask => RowsMax;

    internal override int PanelWork => 4;

    internal override int PanelsPerTask(int rows) => rows <= FewRows ? PanelsOfFewRows : 1;

    internal override void Multiply(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch)
    {
        var left = x.Bf16 + ((long)firstRow * x.Bf16Stride);
        for (var i = panel; i < panel + panels; i++)
        {
            var result = y + ((i - panel) * PanelColumns);
            var streams = rows <= _kernels.StreamRowsMax && OutputSize - (i * PanelColumns) >= PanelColumns;
            var streamed = streams ? Stream(i, left, x.Bf16Stride, rows, result, ldy) : 0;
            MultiplyRuns(i, streamed, left, x.Bf16Stride, rows, result, ldy, (uint*)scratch);
        }
    }

    public override void Dispose()
    {
        // Nothing is owned: the stored matrix belongs to its file.
    }

    private ushort* Stored(int panel) => (ushort*)_stored.At((long)panel * PanelColumns, 0);

    /// <summary>Whole lines of stored rows; returns how many inputs they were.</summary>
    private int Stream(int panel, ushort* left, long stride, int rows, float* y, long ldy)
    {
        var values = InputSize / Bf16StreamRoutine.LineValues * Bf16StreamRoutine.LineValues;
        for (var row = 0; row < PanelColumns && values > 0; row += Bf16StreamRoutine.StoredRows)
        {
            _kernels.Stream(
                Stored(panel) + ((long)row * InputSize), InputSize, values, left, stride, rows, y + row, ldy);
        }

        return values;
    }

    /// <summary>Inputs from <paramref name="first"/> onwards, run by run.</summary>
    private void MultiplyRuns(
        int panel, int first, ushort* left, long stride, int rows, float* y, long ldy, uint* tile)
    {
        var count = Math.Min(PanelColumns, OutputSize - (panel * PanelColumns));
        for (var k = first; k < InputSize; k += RunValues)
        {
            var values = Math.Min(RunValues, InputSize - k);

            // The row's next run, or the first one of the row that many panels on.
            var ahead = k + RunValues < InputSize ? RunValues : ((long)PanelColumns * InputSize) - k;
            Bf16Panels.FromRows(Stored(panel) + k, InputSize, count, values, ahead, tile);
            _kernels.Multiply(left + k, stride, rows, tile, (values + 1) / 2, y, ldy, accumulate: k > 0);
        }
    }
}
