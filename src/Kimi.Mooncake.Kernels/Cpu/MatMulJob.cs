namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// Products of one input with weights in panels: inputs are brought into the forms that the weights want; tasks are
/// panels of outputs by chunks of rows, those of all weights in one dispatch. Few rows are one chunk, and tasks go
/// through the panels of all weights as if they were one.
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
    private readonly TeamTask _stream;
    private readonly PanelTasks _panels;
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
        _stream = Stream;
        _panels = new PanelTasks(team.MemberCount);
    }

    /// <summary>Values that a member needs for a panel and for results that are not yet where they belong.</summary>
    private long MemberStride => _weightScratch + _tileValues;

    internal void Run(in MatrixView x, ReadOnlySpan<LinearProduct> products)
    {
        _count = 0;
        (_weightScratch, _tileValues) = (0, 0);
        ActivationForms forms = 0;
        var (tasks, panels, work) = (0, 0, 0L);
        foreach (ref readonly var product in products)
        {
            var part = Cut(product, x.Rows, tasks, panels);
            tasks += part.PanelTasks * part.Chunks;
            panels += part.Weight.PanelCount;
            work += (x.Rows + ((long)part.Chunks * part.Weight.PanelWork)) * x.Columns * product.Y.Columns;
            forms |= part.Weight.Form;
            Add(part);
        }

        var streams = x.Rows is > 0 and <= PanelTasks.FewRows;
        if (streams)
        {
            Share(x.Rows, panels);
        }
        else
        {
            _team.Reads.Break();
        }

        _weightScratch = (_weightScratch + LineValues - 1) / LineValues * LineValues;
        _members = _scratch.Take(_team.MemberCount * MemberStride);
        _x.Begin(x, forms);
        if ((forms & ~ActivationForms.Single) != 0)
        {
            var encodeTasks = (x.Rows + EncodedRowsPerTask - 1) / EncodedRowsPerTask;
            _team.Run(_encode, encodeTasks, (long)x.Rows * x.Columns * EncodeWork);
        }

        if (streams)
        {
            // A single panel stays with the caller, while others bring near what comes next.
            _team.Run(_stream, panels == 1 ? 1 : _panels.Count, work);
        }
        else
        {
            _team.Run(_multiply, tasks, work);
        }

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

    private static Part Cut(in LinearProduct product, int rows, int firstTask, int firstPanel)
    {
        var weight = KernelArguments.Own<PanelWeight>(product.Weight);
        var rowsPerTask = Math.Clamp(rows, 1, weight.RowsPerTask);
        var panelsPerTask = weight.PanelsPerTask(rows);
        return new Part(
            weight, product.Y, product.IsAdded, firstTask, firstPanel, rowsPerTask, panelsPerTask,
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

    /// <summary>Gives members their shares of the panels of all weights, and says where they begin to read.</summary>
    private void Share(int rows, int panels)
    {
        var run = int.MaxValue;
        foreach (ref readonly var part in _parts.AsSpan(0, _count))
        {
            run = Math.Min(run, part.Weight.PanelsPerRun(rows));
        }

        _panels.Share(panels, run);
        _tileValues = (long)rows * _panels.PanelsMax * Panel;
        var reads = _parts[0].Weight.BeginReading(_team);
        for (var member = 0; member < _team.MemberCount; member++)
        {
            var first = PanelTasks.ShareOf(member, _team.MemberCount, panels);
            var end = PanelTasks.ShareOf(member + 1, _team.MemberCount, panels);
            reads[member] = first < end ? Start(first) : null;
        }
    }

    private int PartOf(int panel)
    {
        var index = _count - 1;
        while (_parts[index].FirstPanel > panel)
        {
            index--;
        }

        return index;
    }

    private byte* Start(int panel)
    {
        ref readonly var part = ref _parts[PartOf(panel)];
        return part.Weight.PanelStart(panel - part.FirstPanel);
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
        var panel = panelTask * part.PanelsPerTask;
        var panels = Math.Min(part.PanelsPerTask, part.Weight.PanelCount - panel);
        Multiply(part, chunk * part.RowsPerTask, panel, panels, member, null);
    }

    /// <summary>All rows by some panels, which may be of several weights.</summary>
    private void Stream(int task, int member)
    {
        var (panel, end) = (_panels.First(task), _panels.First(task + 1));
        while (panel < end)
        {
            ref readonly var part = ref _parts[PartOf(panel)];
            var first = panel - part.FirstPanel;
            var panels = Math.Min(end - panel, part.Weight.PanelCount - first);
            panel += panels;
            var isLast = panel == end && _panels.EndsShare(task);
            Multiply(
                part, 0, first, panels, member,
                isLast ? _team.Reads.After(_panels.OwnerOf(task)) : Start(panel));
        }
    }

    private void Multiply(in Part part, int firstRow, int panel, int panels, int member, byte* afterwards)
    {
        var rows = Math.Min(part.RowsPerTask, _x.Rows - firstRow);
        var scratch = _members + (member * MemberStride);
        var y = part.Y.Data + ((long)firstRow * part.Y.Stride) + (panel * Panel);
        var columns = Math.Min(panels * Panel, part.Y.Columns - (panel * Panel));
        if (columns == panels * Panel && !part.IsAdded)
        {
            part.Weight.Multiply(panel, panels, _x, firstRow, rows, y, part.Y.Stride, (byte*)scratch, afterwards);
            return;
        }

        // Results that are added, and the last panel when it is narrower: whole panels do not fit in the result.
        var result = scratch + _weightScratch;
        var stride = (long)panels * Panel;
        part.Weight.Multiply(panel, panels, _x, firstRow, rows, result, stride, (byte*)scratch, afterwards);
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
        int FirstPanel,
        int RowsPerTask,
        int PanelsPerTask,
        int PanelTasks,
        int Chunks);
}
