namespace Kimi.Mooncake.Kernels.Reference;

/// <summary>The up-projections of a layer as they are stored.</summary>
internal sealed unsafe class RowMajorAttentionWeight : AttentionWeight
{
    private readonly RowMajorWeight _keyUp;
    private readonly RowMajorWeight _valueUp;

    internal RowMajorAttentionWeight(AttentionShape shape, TensorData keyUp, TensorData valueUp)
    {
        Shape = shape;
        _keyUp = new RowMajorWeight(keyUp);
        _valueUp = new RowMajorWeight(valueUp);
    }

    public override AttentionShape Shape { get; }

    public override void Dispose()
    {
        _keyUp.Dispose();
        _valueUp.Dispose();
    }

    /// <summary>Weights from one latent value to the head's unrotated key.</summary>
    internal float* KeyUp(int head, int latent) => _keyUp.Row((head * Shape.LatentRank) + latent);

    /// <summary>Weights from the latent to one value of the head.</summary>
    internal float* ValueUp(int head, int value) => _valueUp.Row((head * Shape.ValueDimension) + value);
}
