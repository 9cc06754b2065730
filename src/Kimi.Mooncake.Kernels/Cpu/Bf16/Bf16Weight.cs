namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// A bfloat16 matrix where it is stored: a run of k of 32 outputs is turned into a panel whenever it is used, while the
/// next run is on its way from memory.
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
        var tile = (uint*)scratch;
        for (var i = panel; i < panel + panels; i++)
        {
            var output = (long)i * PanelColumns;
            var count = (int)Math.Min(PanelColumns, OutputSize - output);
            var stored = (ushort*)_stored.At(output, 0);
            for (var k = 0; k < InputSize; k += RunValues)
            {
                var values = Math.Min(RunValues, InputSize - k);

                // The row's next run, or the first one of the row that many panels on.
                var ahead = k + RunValues < InputSize ? RunValues : ((long)PanelColumns * InputSize) - k;
                Bf16Panels.FromRows(stored + k, InputSize, count, values, ahead, tile);
                _kernels.Multiply(
                    x.Bf16 + ((long)firstRow * x.Bf16Stride) + k, x.Bf16Stride, rows, tile, (values + 1) / 2,
                    y + ((i - panel) * PanelColumns), ldy, accumulate: k > 0);
            }
        }

        GC.KeepAlive(this);
    }

    public override void Dispose()
    {
        // Nothing is owned: the stored matrix belongs to its file.
    }
}
