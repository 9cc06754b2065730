namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// Products of one input with weights in panels: inputs are brought into the forms that the weights want; tasks are
/// panels of outputs by chunks of rows, those of all weights in one dispatch.
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
    private Part[] _parts = new Part[4];
    private int _count;
    private float* _members;
    private long _weightScratch;
    private long _tileValues;

    internal MatMulJob(WorkerTeam team)
    {
        _team = team;
        _encode = Encode;
        _multiply = Multiply;
    }

    /// <summary>Values that a member needs for a panel and for results that are not yet where they belong.</summary>
    private long MemberStride => _weightScratch + _tileValues;

    internal void Run(in MatrixView x, ReadOnlySpan<LinearProduct> products)
    {
        _count = 0;
        (_weightScratch, _tileValues) = (0, 0);
        ActivationForms forms = 0;
        var (tasks, work) = (0, 0L);
        foreach (ref readonly var product in products)
        {
            var part = Cut(product, x.Rows, tasks);
            tasks += part.PanelTasks * part.Chunks;
            work += (x.Rows + ((long)part.Chunks * part.Weight.PanelWork)) * x.Columns * product.Y.Columns;
            forms |= part.Weight.Form;
            Add(part);
        }

        _weightScratch = (_weightScratch + LineValues - 1) / LineValues * LineValues;
        _members = _scratch.Take(_team.MemberCount * MemberStride);
        _x.Begin(x, forms);
        if ((forms & ~ActivationForms.Single) != 0)
        {
            var encodeTasks = (x.Rows + EncodedRowsPerTask - 1) / EncodedRowsPerTask;
            _team.Run(_encode, encodeTasks, (long)x.Rows * x.Columns * EncodeWork);
        }

        _team.Run(_multiply, tasks, work);
        KeepAlive(products);
    }

    public void Dispose()
    {
        _scratch.Dispose();
        _x.Dispose();
    }

    private static void KeepAlive(ReadOnlySpan<LinearProduct> products)
    {
        foreach (ref readonly var product in products)
        {
            GC.KeepAlive(product.Weight);
        }
    }

    private static Part Cut(in LinearProduct product, int rows, int firstTask)
    {
        var weight = KernelArguments.Own<PanelWeight>(product.Weight);
        var rowsPerTask = Math.Clamp(rows, 1, weight.RowsPerTask);
        var panelsPerTask = weight.PanelsPerTask(rows);
        return new Part(
            weight, product.Y, product.IsAdded, firstTask, rowsPerTask, panelsPerTask,
            (weight.PanelCount + panelsPerTask - 1) / panelsPerTask, (rows + rowsPerTask - 1) / rowsPerTask);
    }

    private void Add(in Part part)
    {
        if (_count == _parts.Length)
        {
            Array.Resize(ref _parts, 2 * _count);
        }

        _parts[_count++] = part;
        _weightScratch = Math.Max(_weightScratch, (part.Weight.ScratchBytes + sizeof(float) - 1) / sizeof(float));
        _tileValues = Math.Max(_tileValues, (long)part.RowsPerTask * part.PanelsPerTask * Panel);
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
        var index = _count - 1;
        while (_parts[index].FirstTask > task)
        {
            index--;
        }

        ref readonly var part = ref _parts[index];
        var (chunk, panelTask) = Math.DivRem(task - part.FirstTask, part.PanelTasks);
        var firstRow = chunk * part.RowsPerTask;
        var rows = Math.Min(part.RowsPerTask, _x.Rows - firstRow);
        var panel = panelTask * part.PanelsPerTask;
        var panels = Math.Min(part.PanelsPerTask, part.Weight.PanelCount - panel);
        var scratch = _members + (member * MemberStride);
        var y = part.Y.Data + ((long)firstRow * part.Y.Stride) + (panel * Panel);
        var columns = Math.Min(panels * Panel, part.Y.Columns - (panel * Panel));
        if (columns == panels * Panel && !part.IsAdded)
        {
            part.Weight.Multiply(panel, panels, _x, firstRow, rows, y, part.Y.Stride, (byte*)scratch);
            return;
        }

        // Results that are added, and the last panel when it is narrower: whole panels do not fit in the result.
        var result = scratch + _weightScratch;
        var stride = (long)panels * Panel;
        part.Weight.Multiply(panel, panels, _x, firstRow, rows, result, stride, (byte*)scratch);
        for (var row = 0; row < rows; row++)
        {
            float* from = result + (row * stride), to = y + ((long)row * part.Y.Stride);
            if (part.IsAdded)
            {
                RowJobs.AddRow(from, to, columns);
            }
            else
            {
                new ReadOnlySpan<float>(from, columns).CopyTo(new Span<float>(to, columns));
            }
        }
    }

    /// <summary>One of the products and how it is cut into tasks: chunk after chunk, panels ascending.</summary>
    private readonly record struct Part(
        PanelWeight Weight,
        MatrixView Y,
        bool IsAdded,
        int FirstTask,
        int RowsPerTask,
        int PanelsPerTask,
        int PanelTasks,
        int Chunks);
}
