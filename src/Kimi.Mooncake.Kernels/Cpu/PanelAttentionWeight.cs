namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// The up-projections of a layer in the forms that the two kinds of attention multiply with. Dimensions that are not
/// multiples of 16 are padded with zeros.
/// </summary>
internal abstract unsafe class PanelAttentionWeight(AttentionShape shape) : AttentionWeight
{
    public override AttentionShape Shape { get; } = shape;

    /// <summary>Values of a head's output, padded.</summary>
    internal int PaddedValue { get; } = Padded(shape.ValueDimension);

    /// <summary>Values of the latent, padded.</summary>
    internal int PaddedLatent { get; } = Padded(shape.LatentRank);

    /// <summary>Values of a cached token in one layer, padded.</summary>
    internal int PaddedCached { get; } = Padded(shape.LatentRank + shape.RopeDimension);

    /// <summary>Values of scratch for a head's keys and its values at once; 0 where none is needed.</summary>
    internal abstract long ScratchValues { get; }

    private protected long KeyRowsValues => (long)Shape.NopeDimension * Shape.LatentRank;

    private protected long KeyColumnsValues => (long)Shape.NopeDimension * PaddedLatent;

    private protected long ValueColumnsValues => (long)Shape.LatentRank * PaddedValue;

    /// <summary>A head's <c>[nope][latent]</c>: left factor that makes keys from latents.</summary>
    internal abstract float* KeyRows(int head, float* scratch);

    /// <summary>A head's <c>[nope][padded latent]</c>: right factor that moves a query into the latent space.</summary>
    internal abstract float* KeyColumns(int head, float* scratch);

    /// <summary>A head's <c>[latent][padded value]</c>: right factor that makes values from latents.</summary>
    /// <remarks>Leaves alone what the keys of the same scratch take.</remarks>
    internal abstract float* ValueColumns(int head, float* scratch);

    internal static int Padded(int values) =>
        (values + MicroKernels.Lanes - 1) / MicroKernels.Lanes * MicroKernels.Lanes;
}

/// <summary>All heads in memory of their own.</summary>
internal sealed unsafe class PackedAttentionWeight : PanelAttentionWeight
{
    private readonly PackBudget _budget;
    private readonly NativeBuffer _keyRows;
    private readonly NativeBuffer _keyColumns;
    private readonly NativeBuffer _valueColumns;
    private bool _disposed;

    internal PackedAttentionWeight(AttentionProjections projections, PackBudget budget)
        : base(projections.Shape)
    {
        _budget = budget;
        _keyRows = new NativeBuffer(Shape.HeadCount * KeyRowsValues * sizeof(float));
        _keyColumns = new NativeBuffer(Shape.HeadCount * KeyColumnsValues * sizeof(float));
        _valueColumns = new NativeBuffer(Shape.HeadCount * ValueColumnsValues * sizeof(float));
        using var buffer = new NativeBuffer(StoredTiles.StagingValues * sizeof(float));
        var staging = (float*)buffer.Pointer;
        for (var head = 0; head < Shape.HeadCount; head++)
        {
            StoredAttentionWeight.FillKey(projections, head, Shape.LatentRank, KeyRows(head, null), staging);
            StoredAttentionWeight.FillKey(projections, head, PaddedLatent, KeyColumns(head, null), staging);
            StoredAttentionWeight.FillValue(projections, head, PaddedValue, ValueColumns(head, null), staging);
        }
    }

    internal override long ScratchValues => 0;

    internal static long SizeBytes(AttentionShape shape) => (long)shape.HeadCount * sizeof(float)
        * ((shape.NopeDimension * ((long)shape.LatentRank + Padded(shape.LatentRank)))
            + ((long)shape.LatentRank * Padded(shape.ValueDimension)));

    internal override float* KeyRows(int head, float* scratch) => (float*)_keyRows.Pointer + (head * KeyRowsValues);

    internal override float* KeyColumns(int head, float* scratch) =>
        (float*)_keyColumns.Pointer + (head * KeyColumnsValues);

    internal override float* ValueColumns(int head, float* scratch) =>
        (float*)_valueColumns.Pointer + (head * ValueColumnsValues);

    public override void Dispose()
    {
        if (!_disposed)
        {
            _disposed = true;
            _budget.Return(SizeBytes(Shape));
            _keyRows.Dispose();
            _keyColumns.Dispose();
            _valueColumns.Dispose();
        }
    }
}
