namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// A bfloat16 matrix where it is stored. Few rows are multiplied while it streams by; for many a run of k of 32 outputs
/// is turned into a panel, while the next run is on its way from memory.
/// </summary>
internal sealed unsafe class Bf16Weight : Bf16PanelWeight
{
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

    internal override byte* PanelStart(int panel) => (byte*)Stored(panel);

    internal override byte* Following(int panel) => (byte*)(Stored(panel) + ((long)PanelColumns * InputSize));

    internal override void MultiplyPanel(
        int panel, ushort* left, long stride, int rows, float* y, long ldy, byte* scratch, byte* next)
    {
        // Stored rows stay in the second-level cache while groups of rows go over them; a tile takes longer to make.
        var streams = _kernels.StreamRowsMax > 0 && rows <= FewRows
            && OutputSize - (panel * PanelColumns) >= PanelColumns;
        var streamed = streams ? Stream(panel, left, stride, rows, y, ldy, (ushort*)next) : 0;
        MultiplyRuns(panel, streamed, left, stride, rows, y, ldy, (uint*)scratch);
    }

    public override void Dispose()
    {
        // Nothing is owned: the stored matrix belongs to its file.
    }

    private ushort* Stored(int panel) => (ushort*)_stored.At((long)panel * PanelColumns, 0);

    /// <summary>Whole lines of stored rows; returns how many inputs they were.</summary>
    private int Stream(int panel, ushort* left, long stride, int rows, float* y, long ldy, ushort* next)
    {
        var values = InputSize / Bf16StreamRoutine.LineValues * Bf16StreamRoutine.LineValues;
        for (var row = 0; row < PanelColumns && values > 0; row += Bf16StreamRoutine.StoredRows)
        {
            var stored = Stored(panel) + ((long)row * InputSize);
            var isLast = row + Bf16StreamRoutine.StoredRows == PanelColumns;
            var ahead = isLast ? next : stored + ((long)Bf16StreamRoutine.StoredRows * InputSize);
            for (var first = 0; first < rows; first += Bf16StreamRoutine.RowsMax)
            {
                _kernels.Stream(
                    stored, InputSize, values, left + (first * stride), stride,
                    Math.Min(Bf16StreamRoutine.RowsMax, rows - first), y + (first * ldy) + row, ldy, ahead);
            }
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
