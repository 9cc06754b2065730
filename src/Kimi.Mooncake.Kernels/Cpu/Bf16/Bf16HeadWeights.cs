namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// The up-projections of a layer rounded to bfloat16, all heads: made when a call begins, for all its tiles of keys.
/// Memory grows to the largest layer and is kept.
/// </summary>
internal sealed unsafe class Bf16HeadWeights : IDisposable
{
    private const int Panel = PanelWeight.PanelColumns;

    private readonly WorkerTeam _team;
    private readonly TeamTask _fill;
    private readonly Scratch _keyScratch = new();
    private readonly Scratch _valueScratch = new();
    private readonly Scratch _memberScratch = new();
    private AttentionProjections _projections = null!;
    private AttentionShape _shape = null!;
    private ushort* _keys;
    private uint* _values;
    private float* _members;

    internal Bf16HeadWeights(WorkerTeam team)
    {
        _team = team;
        _fill = Fill;
    }

    /// <summary>Values from one row of <see cref="KeyRows"/> to the next.</summary>
    internal int LatentStride => (_shape.LatentRank + Panel - 1) / Panel * Panel;

    /// <summary>Pairs of latent values.</summary>
    internal int LatentPairs => (_shape.LatentRank + 1) / 2;

    /// <summary>Panels of a head's values.</summary>
    internal int ValuePanels => (_shape.ValueDimension + Panel - 1) / Panel;

    private long MemberValues =>
        StoredTiles.StagingValues + ((long)_shape.NopeDimension * LatentStride)
        + ((long)_shape.LatentRank * ValuePanels * Panel);

    /// <summary>Rounds all heads.</summary>
    internal void Make(AttentionProjections projections)
    {
        (_projections, _shape) = (projections, projections.Shape);
        var heads = (long)_shape.HeadCount;
        _keys = (ushort*)_keyScratch.Take(heads * _shape.NopeDimension * LatentStride / 2);
        _values = (uint*)_valueScratch.Take(heads * ValuePanels * LatentPairs * Panel);
        _members = _memberScratch.Take(_team.MemberCount * MemberValues);
        _team.Run(_fill, _shape.HeadCount, heads * MemberValues);
    }

    /// <summary>A head's <c>[nope][latent]</c>: left factor that makes keys from latents.</summary>
    internal ushort* KeyRows(int head) => _keys + ((long)head * _shape.NopeDimension * LatentStride);

    /// <summary>
    /// Panel of a head's values, <c>[latent pair][32][2]</c>: right factor that makes values from latents.
    /// </summary>
    internal uint* ValuePanel(int head, int panel) =>
        _values + ((((long)head * ValuePanels) + panel) * LatentPairs * Panel);

    public void Dispose()
    {
        _keyScratch.Dispose();
        _valueScratch.Dispose();
        _memberScratch.Dispose();
    }

    private void Fill(int head, int member)
    {
        var staging = _members + (member * MemberValues);
        var keys = staging + StoredTiles.StagingValues;
        var values = keys + ((long)_shape.NopeDimension * LatentStride);
        StoredAttentionWeight.FillKey(_projections, head, LatentStride, keys, staging);
        var width = ValuePanels * Panel;
        StoredAttentionWeight.FillValue(_projections, head, width, values, staging);

        // Rows of keys follow each other in both forms.
        var count = _shape.NopeDimension * LatentStride;
        ActivationRows.EncodeBf16(keys, count, KeyRows(head), count);
        for (var pair = 0; pair < LatentPairs; pair++)
        {
            var even = values + (2L * pair * width);
            var odd = (2 * pair) + 1 < _shape.LatentRank ? even + width : null;
            for (var panel = 0; panel < ValuePanels; panel++)
            {
                Bf16Panels.FromPair(
                    even + (panel * Panel), odd == null ? null : odd + (panel * Panel), Panel,
                    ValuePanel(head, panel) + (pair * Panel));
            }
        }
    }
}
