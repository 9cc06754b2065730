using System.Runtime.CompilerServices;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>A product with a packed weight: tasks are panels of columns by chunks of rows.</summary>
internal sealed unsafe class MatMulJob
{
    private const int RowsPerTask = 256;
    private const int PanelsOfOneRow = 4;

    // A block of k of one panel stays in the first-level cache while the rows of a task go over it.
    private const int BlockRows = 256;
    private MatrixView _x;
    private MatrixView _y;
    private PanelWeight _weight = null!;
    private int _panelsPerTask;
    private int _panelTasks;

    private readonly WorkerTeam _team;
    private readonly TeamTask _multiply;

    internal MatMulJob(WorkerTeam team)
    {
        _team = team;
        _multiply = Multiply;
    }

    internal void Run(in MatrixView x, PanelWeight weight, in MatrixView y)
    {
        (_x, _weight, _y) = (x, weight, y);
        _panelsPerTask = x.Rows == 1 ? PanelsOfOneRow : 1;
        _panelTasks = (weight.PanelCount + _panelsPerTask - 1) / _panelsPerTask;
        var tasks = _panelTasks * ((x.Rows + RowsPerTask - 1) / RowsPerTask);
        _team.Run(_multiply, tasks, (long)x.Rows * x.Columns * y.Columns);
        GC.KeepAlive(weight);
    }

    private void Multiply(int task, int member)
    {
        var (chunk, panelTask) = Math.DivRem(task, _panelTasks);
        var firstRow = chunk * RowsPerTask;
        var rows = Math.Min(RowsPerTask, _x.Rows - firstRow);
        var x = _x.Data + ((long)firstRow * _x.Stride);
        var y = _y.Data + ((long)firstRow * _y.Stride);
        var panel = panelTask * _panelsPerTask;
        if (_x.Rows == 1)
        {
            RunOneRow(x, y, panel, Math.Min(_panelsPerTask, _weight.PanelCount - panel));
            return;
        }

        var column = panel * MicroKernels.PanelColumns;
        var columns = Math.Min(MicroKernels.PanelColumns, _y.Columns - column);
        if (columns == MicroKernels.PanelColumns)
        {
            RunPanel(x, _weight.Panel(panel), y + column, rows);
        }
        else
        {
            RunPartPanel(x, _weight.Panel(panel), y + column, rows, columns);
        }
    }

    private void RunPanel(float* x, float* panel, float* y, int rows)
    {
        for (var k = 0; k < _weight.InputSize; k += BlockRows)
        {
            var count = Math.Min(BlockRows, _weight.InputSize - k);
            var b = panel + ((long)k * MicroKernels.PanelColumns);
            MicroKernels.Multiply(
                x + k, _x.Stride, rows, b, MicroKernels.PanelColumns, count, y, _y.Stride,
                MicroKernels.PanelColumns, accumulate: k > 0);
        }
    }

    /// <summary>The last panel when it is narrower: whole tiles do not fit in the result.</summary>
    [SkipLocalsInit]
    private void RunPartPanel(float* x, float* panel, float* y, int rows, int columns)
    {
        var tile = stackalloc float[MicroKernels.TileRows * MicroKernels.PanelColumns];
        for (var row = 0; row < rows; row += MicroKernels.TileRows)
        {
            var count = Math.Min(MicroKernels.TileRows, rows - row);
            MicroKernels.Multiply(
                x + ((long)row * _x.Stride), _x.Stride, count, panel, MicroKernels.PanelColumns, _weight.InputSize,
                tile, MicroKernels.PanelColumns, MicroKernels.PanelColumns, accumulate: false);
            for (var r = 0; r < count; r++)
            {
                new ReadOnlySpan<float>(tile + (r * MicroKernels.PanelColumns), columns)
                    .CopyTo(new Span<float>(y + ((long)(row + r) * _y.Stride), columns));
            }
        }
    }

    [SkipLocalsInit]
    private void RunOneRow(float* x, float* y, int panel, int panels)
    {
        var row = stackalloc float[PanelsOfOneRow * MicroKernels.PanelColumns];
        MicroKernels.Row1(x, _weight.Panel(panel), panels, _weight.InputSize, row);
        var column = panel * MicroKernels.PanelColumns;
        var columns = Math.Min(panels * MicroKernels.PanelColumns, _y.Columns - column);
        new ReadOnlySpan<float>(row, columns).CopyTo(new Span<float>(y + column, columns));
    }
}
