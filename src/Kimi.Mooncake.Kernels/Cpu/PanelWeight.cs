namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// A weight matrix as panels of 32 output columns, <c>[output / 32][input][32]</c>, the last one padded with zeros.
/// </summary>
internal sealed unsafe class PanelWeight : LinearWeight
{
    private readonly NativeBuffer _panels;

    internal PanelWeight(TensorData weight)
    {
        OutputSize = checked((int)weight.Rows);
        InputSize = weight.Columns;
        PanelCount = (OutputSize + MicroKernels.PanelColumns - 1) / MicroKernels.PanelColumns;
        _panels = new NativeBuffer(PanelSize * PanelCount * sizeof(float));
        var row = new float[InputSize];
        for (var n = 0; n < OutputSize; n++)
        {
            weight.DecodeRow(n, row);
            var column = Panel(n / MicroKernels.PanelColumns) + (n % MicroKernels.PanelColumns);
            for (var k = 0; k < row.Length; k++)
            {
                column[(long)k * MicroKernels.PanelColumns] = row[k];
            }
        }
    }

    public override int OutputSize { get; }

    public override int InputSize { get; }

    internal int PanelCount { get; }

    private long PanelSize => (long)InputSize * MicroKernels.PanelColumns;

    public override void Dispose() => _panels.Dispose();

    internal float* Panel(int panel) => (float*)_panels.Pointer + (panel * PanelSize);
}
