namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>
/// Up-projections for attention in bfloat16, which the expanded form reads where they are stored. The absorbed form
/// multiplies with them as with any weight of their type; only a key projection that is <c>[nope][latent]</c> is
/// decoded and multiplied with in single precision.
/// </summary>
internal sealed unsafe class RoundedAttentionWeight : PanelAttentionWeight
{
    private readonly StoredAttentionWeight _stored;
    private readonly PanelWeight[] _keys;
    private readonly PanelWeight[] _values;
    private FirstReads? _keyReads;
    private FirstReads? _valueReads;

    /// <param name="projections">The stored tensors, which must outlive this.</param>
    /// <param name="pack">Makes a weight of a stored matrix.</param>
    internal RoundedAttentionWeight(AttentionProjections projections, Func<TensorData, PanelWeight> pack)
        : base(projections.Shape)
    {
        Projections = projections;
        _stored = new StoredAttentionWeight(projections);
        var heads = Enumerable.Range(0, Shape.HeadCount);
        _keys = projections.KeyIsLatentMajor ? [.. heads.Select(head => pack(projections.Key(head)))] : [];
        _values = [.. heads.Select(head => pack(projections.Value(head)))];
    }

    /// <summary>The stored projections.</summary>
    internal AttentionProjections Projections { get; }

    internal override long ScratchValues => _stored.ScratchValues;

    /// <summary>Values of working memory that <see cref="Absorb"/> and <see cref="Raise"/> need.</summary>
    internal long AbsorbedScratchValues
    {
        get
        {
            var values = _values[0].ScratchBytes / sizeof(float);
            return _keys.Length == 0
                ? Math.Max(ScratchValues, values)
                : Math.Max(_keys[0].ScratchBytes / sizeof(float), values);
        }
    }

    /// <summary>Columns of <see cref="Absorb"/>'s result.</summary>
    internal int AbsorbedColumns => PanelWeight.Panels(Shape.LatentRank) * PanelWeight.PanelColumns;

    /// <summary>Columns of <see cref="Raise"/>'s result.</summary>
    internal int RaisedColumns => PanelWeight.Panels(Shape.ValueDimension) * PanelWeight.PanelColumns;

    internal override float* KeyRows(int head, float* scratch) => _stored.KeyRows(head, scratch);

    internal override float* KeyColumns(int head, float* scratch) => _stored.KeyColumns(head, scratch);

    internal override float* ValueColumns(int head, float* scratch) => _stored.ValueColumns(head, scratch);

    /// <summary>Moves queries of a head into the latent space.</summary>
    /// <param name="head">The head.</param>
    /// <param name="queries">Rows of nope values.</param>
    /// <param name="inputs">Working memory for their rounded form.</param>
    /// <param name="target">Rows of <see cref="AbsorbedColumns"/>, of which the first are the latent.</param>
    /// <param name="scratch">Working memory.</param>
    /// <param name="afterwards">What is read next; null where nobody knows.</param>
    internal void Absorb(
        int head, in MatrixView queries, ActivationRows inputs, float* target, float* scratch, byte* afterwards)
    {
        if (_keys.Length > 0)
        {
            Multiply(_keys[head], queries, inputs, target, AbsorbedColumns, scratch, afterwards);
            return;
        }

        MicroKernels.Multiply(
            queries.Data, queries.Stride, queries.Rows, KeyColumns(head, scratch), PaddedLatent, Shape.NopeDimension,
            target, AbsorbedColumns, PaddedLatent, accumulate: false);
    }

    /// <summary>Makes outputs of a head from latents.</summary>
    /// <param name="head">The head.</param>
    /// <param name="latents">Rows of latents.</param>
    /// <param name="inputs">Working memory for their rounded form.</param>
    /// <param name="target">Rows of <see cref="RaisedColumns"/>, of which the first are the output.</param>
    /// <param name="stride">Values from one row of the target to the next.</param>
    /// <param name="scratch">Working memory.</param>
    /// <param name="afterwards">What is read next; null where nobody knows.</param>
    internal void Raise(
        int head, in MatrixView latents, ActivationRows inputs, float* target, long stride, float* scratch,
        byte* afterwards) =>
        Multiply(_values[head], latents, inputs, target, stride, scratch, afterwards);

    /// <summary>A job begins that moves queries of heads in ranges of tasks, one for each.</summary>
    /// <param name="team">Members.</param>
    /// <param name="tasks">Tasks, at least as many as heads.</param>
    internal void BeginKeys(WorkerTeam team, int tasks) => Begin(team, _keys, tasks, ref _keyReads);

    /// <summary>A job begins that makes outputs of heads, a task for each.</summary>
    internal void BeginValues(WorkerTeam team) => Begin(team, _values, Shape.HeadCount, ref _valueReads);

    /// <summary>Where reading a head's keys begins; null where it makes no difference to know.</summary>
    internal byte* KeyStart(int head) => head < _keys.Length ? _keys[head].PanelStart(0) : null;

    /// <summary>Where reading a head's values begins.</summary>
    internal byte* ValueStart(int head) => _values[head].PanelStart(0);

    public override void Dispose()
    {
        _stored.Dispose();
        foreach (var weight in _keys.Concat(_values))
        {
            weight.Dispose();
        }
    }

    private static void Begin(WorkerTeam team, PanelWeight[] heads, int tasks, ref FirstReads? known)
    {
        var reads = team.Reads.Begin(ref known);
        for (var member = 0; member < team.MemberCount; member++)
        {
            var head = TeamBoard.FirstOf(member, team.MemberCount, tasks);
            reads[member] = head < heads.Length ? heads[head].PanelStart(0) : null;
        }
    }

    private static void Multiply(
        PanelWeight weight, in MatrixView x, ActivationRows inputs, float* y, long yStride, float* scratch,
        byte* afterwards)
    {
        inputs.Begin(x, weight.Form);
        for (var row = 0; row < x.Rows && weight.Form != ActivationForms.Single; row++)
        {
            inputs.EncodeRow(row);
        }

        weight.Multiply(0, weight.PanelCount, inputs, 0, x.Rows, y, yStride, (byte*)scratch, afterwards);
    }
}
