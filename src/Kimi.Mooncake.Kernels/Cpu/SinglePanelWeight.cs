namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// Products in single precision: panels <c>[input][32]</c> of exactly decoded values, and for every element one chain
/// of fused multiply-adds over k ascending.
/// </summary>
internal abstract unsafe class SinglePanelWeight(int outputSize, int inputSize) : PanelWeight(outputSize, inputSize)
{
    // A run of k of one panel stays in the first-level cache while the rows of a task go over it.
    private const int RunValues = StoredTiles.RunValues;

    /// <summary>Values of scratch that a tile takes.</summary>
    private const int TileScratchValues = (RunValues * PanelColumns) + StoredTiles.StagingValues;

    internal override ActivationForms Form => ActivationForms.Single;

    internal override long ScratchBytes => TileScratchValues * sizeof(float);

    internal override void Multiply(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch)
    {
        var first = x.Single.Data + ((long)firstRow * x.Single.Stride);
        for (var i = 0; i < panels; i++)
        {
            MultiplyPanel(panel + i, first, x.Single.Stride, rows, y + (i * PanelColumns), ldy, (float*)scratch);
        }
    }

    /// <summary>Values <paramref name="k"/> onwards of a panel, <c>[count][32]</c>.</summary>
    /// <param name="panel">Index of the panel.</param>
    /// <param name="k">First input, a multiple of <see cref="StoredTiles.RunValues"/>.</param>
    /// <param name="count">Inputs, at most <see cref="StoredTiles.RunValues"/>.</param>
    /// <param name="scratch"><see cref="PanelWeight.ScratchBytes"/> bytes that may receive them.</param>
    internal abstract float* Tile(int panel, int k, int count, float* scratch);

    private void MultiplyPanel(int panel, float* x, long ldx, int rows, float* y, long ldy, float* scratch)
    {
        if (rows == 1)
        {
            new Span<float>(y, PanelColumns).Clear();
        }

        for (var k = 0; k < InputSize; k += RunValues)
        {
            var count = Math.Min(RunValues, InputSize - k);
            var tile = Tile(panel, k, count, scratch);
            if (rows == 1)
            {
                MicroKernels.Row1Run(x + k, tile, count, y);
            }
            else
            {
                MicroKernels.Multiply(
                    x + k, ldx, rows, tile, PanelColumns, count, y, ldy, PanelColumns, accumulate: k > 0);
            }
        }
    }
}

/// <summary>Panels in memory of their own.</summary>
internal sealed unsafe class PackedWeight : SinglePanelWeight
{
    private const int PanelsOfOneRow = 4;

    private readonly PackBudget _budget;
    private readonly NativeBuffer _panels;
    private bool _disposed;

    internal PackedWeight(in TensorData weight, PackBudget budget)
        : base(checked((int)weight.Rows), weight.Columns)
    {
        _budget = budget;
        _panels = new NativeBuffer(SizeBytes(weight));
        using var staging = new NativeBuffer(StoredTiles.StagingValues * sizeof(float));
        for (var panel = 0; panel < PanelCount; panel++)
        {
            StoredTiles.Columns(
                weight, (long)panel * MicroKernels.PanelColumns, MicroKernels.PanelColumns, 0, InputSize,
                Panel(panel), MicroKernels.PanelColumns, (float*)staging.Pointer);
        }
    }

    internal override int RowsPerTask => 256;

    internal override int PanelWork => 0;

    internal override int PanelsPerTask(int rows) => rows == 1 ? PanelsOfOneRow : 1;

    internal override void Multiply(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch)
    {
        if (rows == 1)
        {
            var row = x.Single.Data + ((long)firstRow * x.Single.Stride);
            for (var i = 0; i < panels; i += PanelsOfOneRow)
            {
                MicroKernels.Row1(
                    row, Panel(panel + i), Math.Min(PanelsOfOneRow, panels - i), InputSize, y + (i * PanelColumns));
            }
        }
        else
        {
            base.Multiply(panel, panels, x, firstRow, rows, y, ldy, scratch);
        }
    }

    internal static long SizeBytes(in TensorData weight) =>
        (long)Panels(weight.Rows) * MicroKernels.PanelColumns * weight.Columns * sizeof(float);

    /// <summary>A whole panel, <c>[input][32]</c>; the next one follows.</summary>
    internal float* Panel(int panel) =>
        (float*)_panels.Pointer + ((long)panel * InputSize * MicroKernels.PanelColumns);

    internal override float* Tile(int panel, int k, int count, float* scratch) =>
        Panel(panel) + ((long)k * MicroKernels.PanelColumns);

    public override void Dispose()
    {
        if (!_disposed)
        {
            _disposed = true;
            _budget.Return((long)PanelCount * MicroKernels.PanelColumns * InputSize * sizeof(float));
            _panels.Dispose();
        }
    }
}

/// <summary>Panels that are made from the stored matrix whenever they are used.</summary>
internal sealed unsafe class StoredWeight(in TensorData weight)
    : SinglePanelWeight(checked((int)weight.Rows), weight.Columns)
{
    private const int TurnedValues = 64;

    private readonly TensorData _stored = weight;

    internal override int RowsPerTask => 512;

    internal override int PanelWork => 16;

    internal override int PanelsPerTask(int rows) => 1;

    internal override void Multiply(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch)
    {
        var isWhole = (panel + panels) * PanelColumns <= OutputSize;
        if (rows > MicroKernels.TileRows || _stored.Type != TensorType.F32 || !SingleRow.IsSupported || !isWhole)
        {
            base.Multiply(panel, panels, x, firstRow, rows, y, ldy, scratch);
            return;
        }

        var first = x.Single.Data + ((long)firstRow * x.Single.Stride);
        for (var i = 0; i < panels; i++)
        {
            var stored = (float*)_stored.At((long)(panel + i) * PanelColumns, 0);
            var result = y + (i * PanelColumns);
            if (rows == 1)
            {
                SingleRow.Multiply(first, stored, InputSize, InputSize, result);
            }
            else
            {
                MultiplyTurned(first, x.Single.Stride, rows, stored, result, ldy, (float*)scratch);
            }
        }
    }

    internal override byte* PanelStart(int panel) => _stored.At((long)panel * PanelColumns, 0);

    internal override float* Tile(int panel, int k, int count, float* scratch)
    {
        StoredTiles.Columns(
            _stored, (long)panel * MicroKernels.PanelColumns, MicroKernels.PanelColumns, k, count, scratch,
            MicroKernels.PanelColumns, scratch + (StoredTiles.RunValues * MicroKernels.PanelColumns));
        return scratch;
    }

    /// <summary>Short runs of k, of which all rows are read at once, as one row's product reads them.</summary>
    private void MultiplyTurned(float* x, long ldx, int rows, float* stored, float* y, long ldy, float* panel)
    {
        for (var k = 0; k < InputSize; k += TurnedValues)
        {
            var count = Math.Min(TurnedValues, InputSize - k);
            SingleRow.Turn(stored + k, InputSize, count, panel);
            MicroKernels.Multiply(
                x + k, ldx, rows, panel, PanelColumns, count, y, ldy, PanelColumns, accumulate: k > 0);
        }
    }

    public override void Dispose()
    {
        // Nothing is owned: the stored matrix belongs to its file.
    }
}
