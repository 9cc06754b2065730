using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// The last projection of all groups, added to the rows of the result in the order of the groups. A task owns some
/// columns of some rows of the result, so that sums need neither locks nor a second pass; where that leaves too few
/// tasks, products are made by group first.
/// </summary>
internal sealed unsafe class DownJob : IDisposable
{
    private const int Panel = PanelWeight.PanelColumns;
    private const int Lanes = MicroKernels.Lanes;
    private const int LineBytes = 64;

    // Products of groups are kept for so many rows at most, which bounds their memory.
    private const int SplitRowsMax = 64;
    private const int RowsPerRange = 256;

    private readonly WorkerTeam _team;
    private readonly ExpertRows _sorted;
    private readonly PanelTasks _panels;
    private readonly TeamTask _multiply;
    private readonly TeamTask _sum;
    private readonly Scratch _scratch = new();
    private readonly Scratch _productScratch = new();
    private ExpertGroup[] _groups = [];
    private int _groupCount;
    private MatrixView _y;
    private float* _members;
    private float* _products;
    private long _weightScratch;
    private int _tileRows;
    private int _rowsPerRange;
    private bool _isSplit;
    private bool _isShared;

    internal DownJob(WorkerTeam team, ExpertRows sorted)
    {
        _team = team;
        _sorted = sorted;
        _panels = new PanelTasks(team.MemberCount);
        _multiply = MultiplyTask;
        _sum = SumTask;
    }

    private int PanelCount => _groups[0].Down.PanelCount;

    private long MemberStride => _weightScratch + ((long)_tileRows * _panels.PanelsMax * Panel);

    private int ProductStride => PanelCount * Panel;

    internal void Run(ExpertGroup[] groups, int groupCount, in MatrixView y)
    {
        (_groups, _groupCount, _y) = (groups, groupCount, y);
        Cut();
        (_weightScratch, _tileRows) = (0, 0);
        long work = 0, products = 0;
        foreach (ref readonly var group in groups.AsSpan(0, groupCount))
        {
            _weightScratch = Math.Max(_weightScratch, group.Down.ScratchBytes);
            _tileRows = Math.Max(_tileRows, Math.Min(group.Rows, group.Down.RowsPerTask));
            work += ((long)group.Rows + group.Down.PanelWork) * group.Down.InputSize;
            products += group.Rows;
        }

        _weightScratch = (_weightScratch + LineBytes - 1) / LineBytes * (LineBytes / sizeof(float));
        _members = _scratch.Take(_team.MemberCount * MemberStride);
        if (_isSplit)
        {
            _products = _productScratch.Take(products * ProductStride);
            _team.Run(_multiply, _panels.Count * groupCount, work * y.Columns);
            work = products;
        }

        var ranges = (y.Rows + _rowsPerRange - 1) / _rowsPerRange;
        _team.Run(_sum, _panels.Count * ranges, work * y.Columns);
    }

    public void Dispose()
    {
        _scratch.Dispose();
        _productScratch.Dispose();
    }

    private void Cut()
    {
        var wanted = GateUpJob.TasksPerMember * _team.MemberCount;
        var isFew = _y.Rows <= GateUpJob.FewRows;
        var panelsPerTask = isFew ? Math.Max(1, PanelCount / wanted) : _groups[0].Down.PanelsPerTask(_y.Rows);
        _panels.Cut(PanelCount, panelsPerTask);
        _isSplit = _groupCount > 1 && _panels.Count < wanted && _y.Rows <= SplitRowsMax;
        _isShared = isFew && !_isSplit;
        if (_isShared)
        {
            _panels.Share(PanelCount, _groups[0].Down.PanelsPerRun(_y.Rows));
        }

        var ranges = Math.Min((wanted + _panels.Count - 1) / _panels.Count, Math.Max(1, _y.Rows / RowsPerRange));
        _rowsPerRange = (_y.Rows + ranges - 1) / ranges;
    }

    /// <summary>The products of some panels of one group.</summary>
    private void MultiplyTask(int task, int member)
    {
        var (panelTask, g) = Math.DivRem(task, _groupCount);
        ref readonly var group = ref _groups[g];
        var panel = _panels.First(panelTask);
        var panels = _panels.PanelsOf(panelTask);
        for (var row = 0; row < group.Rows; row += _tileRows)
        {
            group.Down.Multiply(
                panel, panels, group.Inner, group.FirstInner + row, Math.Min(_tileRows, group.Rows - row),
                Product(group, row) + (panel * Panel), ProductStride, (byte*)(_members + (member * MemberStride)));
        }
    }

    /// <summary>The sums of some panels of a range of rows.</summary>
    private void SumTask(int task, int member)
    {
        var (range, panelTask) = Math.DivRem(task, _panels.Count);
        var firstRow = range * _rowsPerRange;
        var endRow = Math.Min(firstRow + _rowsPerRange, _y.Rows);
        var scratch = _members + (member * MemberStride);
        var panel = _panels.First(panelTask);
        var panels = _panels.PanelsOf(panelTask);
        for (var g = 0; g < _groupCount && panels > 0; g++)
        {
            ref readonly var group = ref _groups[g];
            var row = FirstFrom(group, firstRow);
            var end = FirstFrom(group, endRow);
            while (row < end)
            {
                var count = Math.Min(_tileRows, end - row);
                if (_isSplit)
                {
                    Add(group, row, count, panelTask, Product(group, row) + (panel * Panel), ProductStride);
                }
                else
                {
                    var tile = scratch + _weightScratch;
                    var stride = _panels.PanelsMax * Panel;
                    group.Down.Multiply(
                        panel, panels, group.Inner, group.FirstInner + row, count, tile, stride,
                        (byte*)scratch, After(g, panelTask));
                    Add(group, row, count, panelTask, tile, stride);
                }

                row += count;
            }
        }
    }

    /// <summary>
    /// What is read after a group's panels: the next group's, then the first group's next ones, then what follows.
    /// </summary>
    private byte* After(int g, int panelTask)
    {
        if (g + 1 < _groupCount)
        {
            return _groups[g + 1].Down.PanelStart(_panels.First(panelTask));
        }

        if (_isShared && _panels.EndsShare(panelTask))
        {
            return _team.Reads.After(_panels.OwnerOf(panelTask));
        }

        return panelTask + 1 < _panels.Count ? _groups[0].Down.PanelStart(_panels.First(panelTask + 1)) : null;
    }

    /// <summary>The first of a group's rows that is <paramref name="row"/> of the batch or a later one.</summary>
    private int FirstFrom(in ExpertGroup group, int row)
    {
        if (!group.IsChosen)
        {
            return row;
        }

        var place = _sorted.Rows.Slice(group.FirstSlot, group.Rows).BinarySearch(row);
        return place < 0 ? ~place : place;
    }

    private void Add(in ExpertGroup group, int row, int count, int panelTask, float* products, int stride)
    {
        var column = _panels.First(panelTask) * Panel;
        var columns = Math.Min(_panels.PanelsOf(panelTask) * Panel, _y.Columns - column);
        for (var i = 0; i < count; i++)
        {
            var slot = group.FirstSlot + row + i;
            var (target, weight) = group.IsChosen ? (_sorted.Rows[slot], _sorted.Weights[slot]) : (row + i, 1);
            AddRow(
                products + ((long)i * stride), weight, _y.Data + ((long)target * _y.Stride) + column, columns);
        }
    }

    private float* Product(in ExpertGroup group, int row) =>
        _products + ((long)(group.FirstProduct + row) * ProductStride);

    /// <summary><c>y += weight x</c>, product and sum rounded each.</summary>
    private static void AddRow(float* x, float weight, float* y, int columns)
    {
        var i = 0;
        for (; i + Lanes <= columns; i += Lanes)
        {
            ((Vector512.Load(x + i) * Vector512.Create(weight)) + Vector512.Load(y + i)).Store(y + i);
        }

        for (; i < columns; i++)
        {
            y[i] = (x[i] * weight) + y[i];
        }
    }
}
