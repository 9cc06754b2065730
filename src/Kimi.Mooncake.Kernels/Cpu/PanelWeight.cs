namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// A weight matrix as panels of 32 outputs, each of which can be multiplied with rows of inputs by itself. Whatever the
/// panel, the number of rows and the path, an element's bits depend on its row of inputs and its weights alone.
/// </summary>
internal abstract unsafe class PanelWeight(int outputSize, int inputSize) : LinearWeight
{
    internal const int PanelColumns = MicroKernels.PanelColumns;

    // Read in a few hundred times what the beginning of a task takes.
    private const int RunBytes = 1 << 20;

    private FirstReads? _firstReads;

    public override int OutputSize { get; } = outputSize;

    public override int InputSize { get; } = inputSize;

    internal int PanelCount { get; } = Panels(outputSize);

    /// <summary>The form of inputs that panels are multiplied with.</summary>
    internal abstract ActivationForms Form { get; }

    /// <summary>Bytes of scratch that a member of the team needs for a product.</summary>
    internal abstract long ScratchBytes { get; }

    /// <summary>Panels that a task should take of a product of so many rows.</summary>
    internal abstract int PanelsPerTask(int rows);

    /// <summary>Panels that a task should take at most where its time is that of reading them.</summary>
    internal int PanelsPerRun(int rows)
    {
        var first = PanelStart(0);
        return first == null || PanelCount == 1
            ? PanelsPerTask(rows)
            : Math.Max(PanelsPerTask(rows), (int)(RunBytes / (PanelStart(1) - first)));
    }

    /// <summary>Most rows that a task should take: more where a panel must be made first.</summary>
    internal abstract int RowsPerTask { get; }

    /// <summary>Multiply-adds that take as long as making one value of a panel for a task.</summary>
    internal abstract int PanelWork { get; }

    /// <summary>
    /// <c>y[r][c]</c> = product of row <c>firstRow + r</c> with output <c>32 panel + c</c>. Outputs beyond the matrix
    /// are written too, so that <paramref name="y"/> has 32 columns for each panel.
    /// </summary>
    /// <param name="panel">First panel.</param>
    /// <param name="panels">Panels, at least 1.</param>
    /// <param name="x">Inputs, which have <see cref="Form"/>.</param>
    /// <param name="firstRow">First row of them.</param>
    /// <param name="rows">Rows, at least 1.</param>
    /// <param name="y">Receives the results.</param>
    /// <param name="ldy">Values from one row of the results to the next.</param>
    /// <param name="scratch"><see cref="ScratchBytes"/> bytes, aligned to 64.</param>
    internal abstract void Multiply(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch);

    /// <summary>The same, and who knows better than the weight what its thread reads afterwards says so.</summary>
    /// <param name="panel">First panel.</param>
    /// <param name="panels">Panels, at least 1.</param>
    /// <param name="x">Inputs, which have <see cref="Form"/>.</param>
    /// <param name="firstRow">First row of them.</param>
    /// <param name="rows">Rows, at least 1.</param>
    /// <param name="y">Receives the results.</param>
    /// <param name="ldy">Values from one row of the results to the next.</param>
    /// <param name="scratch"><see cref="ScratchBytes"/> bytes, aligned to 64.</param>
    /// <param name="afterwards">A <see cref="PanelStart"/>, of any weight; null where nobody knows.</param>
    internal virtual void Multiply(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch,
        byte* afterwards) =>
        Multiply(panel, panels, x, firstRow, rows, y, ldy, scratch);

    /// <summary>Where reading a panel begins, one after another; null where it makes no difference to know.</summary>
    internal virtual byte* PanelStart(int panel) => null;

    /// <summary>A job begins that is bound by reading, this weight first.</summary>
    /// <returns>To be told where members begin.</returns>
    internal FirstReads BeginReading(WorkerTeam team) => team.Reads.Begin(ref _firstReads);

    internal static int Panels(long outputs) => checked((int)((outputs + PanelColumns - 1) / PanelColumns));
}
