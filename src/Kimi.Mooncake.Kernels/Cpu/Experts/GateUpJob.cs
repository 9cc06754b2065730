namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// <c>silu(x gate) * (x up)</c> of all groups in one dispatch. A task multiplies the same panels of gate and up, joins
/// them while they are in the first cache and rounds the result to what down wants.
/// </summary>
internal sealed unsafe class GateUpJob : IDisposable
{
    /// <summary>A batch of so many rows reads weights faster than it multiplies them.</summary>
    internal const int FewRows = 8;

    /// <summary>Tasks of a member: enough to even out what members lose to others.</summary>
    internal const int TasksPerMember = 4;

    private const int Panel = PanelWeight.PanelColumns;
    private const int LineBytes = 64;

    private readonly WorkerTeam _team;
    private readonly TeamTask _multiply;
    private readonly Scratch _scratch = new();
    private ExpertTask[] _tasks = new ExpertTask[64];
    private int _count;
    private ExpertGroup[] _groups = [];
    private float* _members;
    private long _weightScratch;
    private long _tileValues;
    private bool _isAcross;

    internal GateUpJob(WorkerTeam team)
    {
        _team = team;
        _multiply = Multiply;
    }

    /// <summary>Tasks of each member's range where groups are cut across.</summary>
    private int TasksOfMember => _count / _team.MemberCount;

    private long MemberStride => _weightScratch + (2 * _tileValues);

    internal void Run(ExpertGroup[] groups, int groupCount, int rows)
    {
        _groups = groups;
        _count = 0;
        _isAcross = rows <= FewRows;
        if (_isAcross)
        {
            CutAcross(groups.AsSpan(0, groupCount), rows);
            BeginReading();
        }
        else
        {
            CutAlong(groups.AsSpan(0, groupCount));
            _team.Reads.Break();
        }

        (_weightScratch, _tileValues) = (0, 0);
        var work = 0L;
        foreach (ref readonly var task in _tasks.AsSpan(0, _count))
        {
            ref readonly var group = ref groups[task.Group];
            _weightScratch = Math.Max(_weightScratch, Math.Max(group.Gate.ScratchBytes, group.Up.ScratchBytes));
            _tileValues = Math.Max(_tileValues, (long)task.Rows * task.Panels * Panel);
            work += ((2L * task.Rows) + group.Gate.PanelWork + group.Up.PanelWork) * task.Panels * Panel
                * group.Gate.InputSize;
        }

        _weightScratch = (_weightScratch + LineBytes - 1) / LineBytes * (LineBytes / sizeof(float));
        _members = _scratch.Take(_team.MemberCount * MemberStride);
        _team.Run(_multiply, _count, work);
    }

    public void Dispose() => _scratch.Dispose();

    /// <summary>
    /// For few rows: a member's range of tasks is the same share of every group's panels, so that it reads the same
    /// panels of an expert in every step. The last group comes first: if it is the one of all rows, the members know
    /// what they read before anybody has chosen.
    /// </summary>
    private void CutAcross(ReadOnlySpan<ExpertGroup> groups, int rows)
    {
        for (var member = 0; member < _team.MemberCount; member++)
        {
            for (var i = 0; i < groups.Length; i++)
            {
                var g = i == 0 ? groups.Length - 1 : i - 1;
                AddShare(groups[g], g, member, rows, i == groups.Length - 1);
            }
        }
    }

    private void AddShare(in ExpertGroup group, int index, int member, int rows, bool isLast)
    {
        var (members, panels) = (_team.MemberCount, group.Gate.PanelCount);
        var run = Math.Min(group.Gate.PanelsPerRun(rows), group.Up.PanelsPerRun(rows));
        var panel = PanelTasks.ShareOf(member, members, panels);
        var end = PanelTasks.ShareOf(member + 1, members, panels);
        for (var tasks = PanelTasks.CountOf(panels, members, run, isLast); tasks > 0; tasks--)
        {
            var count = PanelTasks.Next(end - panel, run, isLast);
            Add(new ExpertTask(index, panel, count, 0, group.Rows));
            panel += count;
        }
    }

    /// <summary>Says where members begin to read, if that is not different every time.</summary>
    private void BeginReading()
    {
        var reads = _groups[_tasks[0].Group].Gate.BeginReading(_team);
        for (var member = 0; member < _team.MemberCount; member++)
        {
            ref readonly var task = ref _tasks[member * TasksOfMember];
            ref readonly var group = ref _groups[task.Group];
            reads[member] = group.IsChosen || task.Panels == 0 ? null : group.Gate.PanelStart(task.Panel);
        }
    }

    /// <summary>For many rows: a group after another, so that its rows stay in the cache.</summary>
    private void CutAlong(ReadOnlySpan<ExpertGroup> groups)
    {
        for (var g = 0; g < groups.Length; g++)
        {
            var (gate, up, rows) = (groups[g].Gate, groups[g].Up, groups[g].Rows);
            var rowsPerTask = Math.Min(rows, Math.Min(gate.RowsPerTask, up.RowsPerTask));
            var panelsPerTask = Math.Min(gate.PanelsPerTask(rows), up.PanelsPerTask(rows));
            for (var row = 0; row < rows; row += rowsPerTask)
            {
                for (var panel = 0; panel < gate.PanelCount; panel += panelsPerTask)
                {
                    Add(new ExpertTask(
                        g, panel, Math.Min(panelsPerTask, gate.PanelCount - panel),
                        row, Math.Min(rowsPerTask, rows - row)));
                }
            }
        }
    }

    private void Add(ExpertTask task)
    {
        if (_count == _tasks.Length)
        {
            Array.Resize(ref _tasks, 2 * _count);
        }

        _tasks[_count++] = task;
    }

    /// <summary>What the owner of a task reads after it: the next one's gate, or its share of what goes down.</summary>
    private byte* After(int index)
    {
        if (!_isAcross)
        {
            return index + 1 < _count ? GateOf(index + 1) : null;
        }

        var owner = index / TasksOfMember;
        var end = (owner + 1) * TasksOfMember;
        for (var next = index + 1; next < end; next++)
        {
            if (_tasks[next].Panels > 0)
            {
                return GateOf(next);
            }
        }

        var down = _groups[0].Down;
        var panel = PanelTasks.ShareOf(owner, _team.MemberCount, down.PanelCount);
        return panel < down.PanelCount ? down.PanelStart(panel) : null;
    }

    private byte* GateOf(int index) => _groups[_tasks[index].Group].Gate.PanelStart(_tasks[index].Panel);

    private void Multiply(int index, int member)
    {
        ref readonly var task = ref _tasks[index];
        if (task.Panels == 0)
        {
            return;
        }

        ref readonly var group = ref _groups[task.Group];
        var scratch = _members + (member * MemberStride);
        float* gate = scratch + _weightScratch, up = gate + _tileValues;
        var stride = task.Panels * Panel;
        var first = group.FirstInput + task.Row;
        group.Gate.Multiply(
            task.Panel, task.Panels, group.Inputs, first, task.Rows, gate, stride, (byte*)scratch,
            group.Up.PanelStart(task.Panel));
        group.Up.Multiply(
            task.Panel, task.Panels, group.Inputs, first, task.Rows, up, stride, (byte*)scratch,
            After(index));
        var column = task.Panel * Panel;
        var columns = Math.Min(stride, group.Gate.OutputSize - column);
        for (var row = 0; row < task.Rows; row++)
        {
            var values = gate + ((long)row * stride);
            RowJobs.SwiGluRow(values, up + ((long)row * stride), columns);
            var target = group.FirstInner + task.Row + row;
            if ((group.Inner.Forms & ActivationForms.Single) != 0)
            {
                new ReadOnlySpan<float>(values, columns).CopyTo(group.Inner.Single.Row(target)[column..]);
            }

            group.Inner.EncodeColumns(target, column, values, columns);
        }
    }
}
