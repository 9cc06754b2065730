namespace Kimi.Mooncake.Kernels;

/// <summary>
/// The stored key and value up-projections of a layer, head by head, in whichever way a file keeps them. Borrows the
/// memory of the tensors.
/// </summary>
public sealed record AttentionProjections
{
    private readonly TensorData _keys;
    private readonly TensorData _values;
    private readonly long _keyStride;
    private readonly long _valueStride;
    private readonly long _firstValue;

    private AttentionProjections(
        AttentionShape shape, bool keyIsLatentMajor, TensorData keys, TensorData values, long firstValue)
    {
        Shape = shape;
        KeyIsLatentMajor = keyIsLatentMajor;
        _keys = keys;
        _values = values;
        _keyStride = keys.Rows / shape.HeadCount;
        _valueStride = values.Rows / shape.HeadCount;
        _firstValue = firstValue;
    }

    /// <summary>Dimensions.</summary>
    public AttentionShape Shape { get; }

    /// <summary>
    /// Whether a head's key projection is <c>[latent][nope]</c> (GGUF's <c>attn_k_b</c>); otherwise it is
    /// <c>[nope][latent]</c> (rows of <c>kv_b_proj</c>).
    /// </summary>
    public bool KeyIsLatentMajor { get; }

    /// <summary>
    /// Whether both are stored in F32 or F16, which no arithmetic rounds; otherwise
    /// <see cref="Cpu.CpuArithmetic.Fast"/> computes attention in bfloat16.
    /// </summary>
    public bool HasFullPrecision => IsFull(_keys.Type) && IsFull(_values.Type);

    /// <summary>GGUF's <c>attn_k_b</c> and <c>attn_v_b</c>.</summary>
    /// <param name="shape">Dimensions.</param>
    /// <param name="keyB">
    /// <c>[head * latent][nope]</c>: row <c>head * LatentRank + j</c>, column <c>d</c> is the weight from latent value
    /// <c>j</c> to key value <c>d</c>.
    /// </param>
    /// <param name="valueB"><c>[head * value][latent]</c>.</param>
    /// <exception cref="ArgumentException">A dimension of the shape or of a tensor is wrong.</exception>
    public static AttentionProjections FromSplit(AttentionShape shape, TensorData keyB, TensorData valueB)
    {
        KernelArguments.CheckShape(shape);
        KernelArguments.CheckStored(
            keyB, (long)shape.HeadCount * shape.LatentRank, shape.NopeDimension, "key up-projection");
        KernelArguments.CheckStored(
            valueB, (long)shape.HeadCount * shape.ValueDimension, shape.LatentRank, "value up-projection");
        return new AttentionProjections(shape, true, keyB, valueB, 0);
    }

    /// <summary><c>kv_b_proj</c> of Hugging Face's layout, which is GGUF's <c>attn_kv_b</c>.</summary>
    /// <param name="shape">Dimensions.</param>
    /// <param name="kvB"><c>[head * (nope + value)][latent]</c>: a head's key rows, then its value rows.</param>
    /// <exception cref="ArgumentException">A dimension of the shape or of the tensor is wrong.</exception>
    public static AttentionProjections FromCombined(AttentionShape shape, TensorData kvB)
    {
        KernelArguments.CheckShape(shape);
        KernelArguments.CheckStored(
            kvB, (long)shape.HeadCount * (shape.NopeDimension + shape.ValueDimension), shape.LatentRank,
            "key and value up-projection");
        return new AttentionProjections(shape, false, kvB, kvB, shape.NopeDimension);
    }

    /// <summary>A head's key projection, oriented as <see cref="KeyIsLatentMajor"/> says.</summary>
    public TensorData Key(int head) => _keys.Slice(
        head * _keyStride, KeyIsLatentMajor ? Shape.LatentRank : Shape.NopeDimension);

    /// <summary>A head's value projection, <c>[value][latent]</c>.</summary>
    public TensorData Value(int head) => _values.Slice((head * _valueStride) + _firstValue, Shape.ValueDimension);

    private static bool IsFull(TensorType type) => type is TensorType.F32 or TensorType.F16;
}
