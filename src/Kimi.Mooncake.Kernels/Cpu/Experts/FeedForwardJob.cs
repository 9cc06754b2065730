namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// Feed-forward networks, one for all rows or many for some rows each. Three dispatches however many networks there
/// are: inputs are rounded and laid side by side for each network, gate and up are multiplied, then down.
/// </summary>
internal sealed unsafe class FeedForwardJob : IDisposable
{
    private const int RowsPerTask = 16;
    private const int LineValues = 16;

    // Rounding and copying a value takes as long as about this many multiply-adds.
    private const int EncodeWork = 16;

    private readonly WorkerTeam _team;
    private readonly TeamTask _encode;
    private readonly GateUpJob _gateUp;
    private readonly DownJob _down;
    private readonly ExpertRows _sorted = new();
    private readonly ActivationRows _x = new();
    private readonly ActivationRows _gathered = new();
    private readonly ActivationRows _chosenInner = new();
    private readonly ActivationRows _wholeInner = new();
    private readonly Scratch _gatheredValues = new();
    private readonly Scratch _chosenValues = new();
    private readonly Scratch _wholeValues = new();
    private ExpertGroup[] _groups = new ExpertGroup[16];
    private int _count;
    private bool _gathers;

    internal FeedForwardJob(WorkerTeam team)
    {
        _team = team;
        _encode = Encode;
        _gateUp = new GateUpJob(team);
        _down = new DownJob(team, _sorted);
    }

    internal void Run(in MatrixView x, FeedForwardWeight weight, in MatrixView y)
    {
        _sorted.Clear();
        _count = 0;
        AddWhole(weight, x.Rows);
        Run(x, y);
        GC.KeepAlive(weight);
    }

    internal void Run(
        in MatrixView x, ExpertBank bank, ReadOnlySpan<int> chosen, ReadOnlySpan<float> weights, in MatrixView y)
    {
        _sorted.Sort(bank.Experts.Length, x.Rows, chosen, weights);
        _count = 0;
        for (var e = 0; e < bank.Experts.Length; e++)
        {
            if (_sorted.CountOf(e) > 0)
            {
                AddChosen(bank.Experts[e], e);
            }
        }

        if (bank.Shared is { } shared)
        {
            AddWhole(shared, x.Rows);
        }

        Run(x, y);
        GC.KeepAlive(bank);
    }

    public void Dispose()
    {
        _gateUp.Dispose();
        _down.Dispose();
        _x.Dispose();
        _gathered.Dispose();
        _chosenInner.Dispose();
        _wholeInner.Dispose();
        _gatheredValues.Dispose();
        _chosenValues.Dispose();
        _wholeValues.Dispose();
    }

    /// <summary>A network of all rows.</summary>
    private void AddWhole(FeedForwardWeight weight, int rows) =>
        Add(weight, rows, -1, _x, 0, _wholeInner, 0, _sorted.SlotCount);

    /// <summary>An expert; a single row is read where it is.</summary>
    private void AddChosen(FeedForwardWeight weight, int expert)
    {
        var (slot, rows) = (_sorted.FirstSlot(expert), _sorted.CountOf(expert));
        var (inputs, first) = rows == 1 ? (_x, _sorted.Rows[slot]) : (_gathered, slot);
        Add(weight, rows, slot, inputs, first, _chosenInner, slot, slot);
    }

    private void Add(
        FeedForwardWeight weight,
        int rows,
        int firstSlot,
        ActivationRows inputs,
        int firstInput,
        ActivationRows inner,
        int firstInner,
        int firstProduct)
    {
        if (_count == _groups.Length)
        {
            Array.Resize(ref _groups, 2 * _count);
        }

        _groups[_count++] = new ExpertGroup(
            KernelArguments.Own<PanelWeight>(weight.Gate),
            KernelArguments.Own<PanelWeight>(weight.Up),
            KernelArguments.Own<PanelWeight>(weight.Down),
            rows, firstSlot, inputs, firstInput, inner, firstInner, firstProduct);
    }

    private void Run(in MatrixView x, in MatrixView y)
    {
        var groups = _groups.AsSpan(0, _count);
        if (_count == 0)
        {
            return;
        }

        ActivationForms inputForms = 0, innerForms = 0;
        _gathers = false;
        foreach (ref readonly var group in groups)
        {
            inputForms |= group.Gate.Form | group.Up.Form;
            innerForms |= group.Down.Form;
            _gathers |= group.Inputs == _gathered;
        }

        EncodeInputs(x, inputForms);
        ref readonly var last = ref groups[^1];
        if (!last.IsChosen)
        {
            Begin(_wholeInner, _wholeValues, x.Rows, last.Gate.OutputSize, innerForms);
        }

        if (groups[0].IsChosen)
        {
            Begin(_chosenInner, _chosenValues, _sorted.SlotCount, groups[0].Gate.OutputSize, innerForms);
        }

        _gateUp.Run(_groups, _count, x.Rows);
        _down.Run(_groups, _count, y);
    }

    private void EncodeInputs(in MatrixView x, ActivationForms forms)
    {
        _x.Begin(x, forms);
        if (_gathers)
        {
            Begin(_gathered, _gatheredValues, _sorted.SlotCount, x.Columns, forms);
        }

        if (_gathers || forms != ActivationForms.Single)
        {
            var copies = 1 + (_gathers ? _sorted.PerRow : 0);
            _team.Run(
                _encode, (x.Rows + RowsPerTask - 1) / RowsPerTask, (long)x.Rows * x.Columns * copies * EncodeWork);
        }
    }

    private static void Begin(ActivationRows rows, Scratch values, int count, int columns, ActivationForms forms)
    {
        if ((forms & ActivationForms.Single) == 0)
        {
            rows.Begin(count, columns, forms);
            return;
        }

        var stride = (columns + LineValues - 1) / LineValues * LineValues;
        rows.Begin(new MatrixView(values.Take((long)count * stride), count, columns, stride), forms);
    }

    private void Encode(int task, int member)
    {
        var end = Math.Min((task + 1) * RowsPerTask, _x.Rows);
        for (var row = task * RowsPerTask; row < end; row++)
        {
            _x.EncodeRow(row);
            if (!_gathers)
            {
                continue;
            }

            foreach (var slot in _sorted.SlotsOf(row))
            {
                if ((_x.Forms & ActivationForms.Single) != 0)
                {
                    _x.Single.Row(row).CopyTo(_gathered.Single.Row(slot));
                }

                _gathered.CopyRow(slot, _x, row);
            }
        }
    }
}
