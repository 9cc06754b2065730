namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// A product with a weight in panels: inputs are brought into the form that the weight wants, then tasks are panels of
/// outputs by chunks of rows.
/// </summary>
internal sealed unsafe class MatMulJob : IDisposable
{
    private const int Panel = PanelWeight.PanelColumns;

    // Rounding a value takes as long as about this many multiply-adds.
    private const int EncodeWork = 16;
    private const int EncodedRowsPerTask = 16;
    private const int LineValues = 16;

    private readonly WorkerTeam _team;
    private readonly TeamTask _encode;
    private readonly TeamTask _multiply;
    private readonly ActivationRows _x = new();
    private readonly Scratch _scratch = new();
    private MatrixView _y;
    private PanelWeight _weight = null!;
    private float* _members;
    private int _rowsPerTask;
    private int _panelsPerTask;
    private int _panelTasks;

    internal MatMulJob(WorkerTeam team)
    {
        _team = team;
        _encode = Encode;
        _multiply = Multiply;
    }

    private long WeightScratchValues =>
        (_weight.ScratchBytes + (LineValues * sizeof(float)) - 1) / (LineValues * sizeof(float)) * LineValues;

    /// <summary>Values that a member needs for a panel and for the results of one that is narrower.</summary>
    private long MemberStride => WeightScratchValues + ((long)_rowsPerTask * _panelsPerTask * Panel);

    internal void Run(in MatrixView x, PanelWeight weight, in MatrixView y)
    {
        (_weight, _y) = (weight, y);
        _x.Begin(x, weight.Form);
        if (weight.Form != ActivationForms.Single)
        {
            var tasks = (x.Rows + EncodedRowsPerTask - 1) / EncodedRowsPerTask;
            _team.Run(_encode, tasks, (long)x.Rows * x.Columns * EncodeWork);
        }

        _rowsPerTask = Math.Clamp(x.Rows, 1, weight.RowsPerTask);
        _panelsPerTask = weight.PanelsPerTask(x.Rows);
        _panelTasks = (weight.PanelCount + _panelsPerTask - 1) / _panelsPerTask;
        _members = _scratch.Take(_team.MemberCount * MemberStride);
        var chunks = (x.Rows + _rowsPerTask - 1) / _rowsPerTask;
        var work = x.Rows + ((long)chunks * weight.PanelWork);
        _team.Run(_multiply, _panelTasks * chunks, work * x.Columns * y.Columns);
        GC.KeepAlive(weight);
    }

    public void Dispose()
    {
        _scratch.Dispose();
        _x.Dispose();
    }

    private void Encode(int task, int member)
    {
        var end = Math.Min((task + 1) * EncodedRowsPerTask, _x.Rows);
        for (var row = task * EncodedRowsPerTask; row < end; row++)
        {
            _x.EncodeRow(row);
        }
    }

    private void Multiply(int task, int member)
    {
        var (chunk, panelTask) = Math.DivRem(task, _panelTasks);
        var firstRow = chunk * _rowsPerTask;
        var rows = Math.Min(_rowsPerTask, _x.Rows - firstRow);
        var panel = panelTask * _panelsPerTask;
        var panels = Math.Min(_panelsPerTask, _weight.PanelCount - panel);
        var scratch = _members + (member * MemberStride);
        var y = _y.Data + ((long)firstRow * _y.Stride) + (panel * Panel);
        var columns = Math.Min(panels * Panel, _y.Columns - (panel * Panel));
        if (columns == panels * Panel)
        {
            _weight.Multiply(panel, panels, _x, firstRow, rows, y, _y.Stride, (byte*)scratch);
            return;
        }

        // The last panel when it is narrower: whole panels do not fit in the result.
        var result = scratch + WeightScratchValues;
        var stride = (long)panels * Panel;
        _weight.Multiply(panel, panels, _x, firstRow, rows, result, stride, (byte*)scratch);
        for (var row = 0; row < rows; row++)
        {
            new ReadOnlySpan<float>(result + (row * stride), columns)
                .CopyTo(new Span<float>(y + ((long)row * _y.Stride), columns));
        }
    }
}
