namespace Kimi.Mooncake.Kernels.Reference;

/// <summary>A matrix as it is stored, <c>[output][input]</c>, in single precision.</summary>
internal sealed unsafe class RowMajorWeight : LinearWeight
{
    private readonly NativeBuffer _values;

    internal RowMajorWeight(TensorData weight)
    {
        OutputSize = checked((int)weight.Rows);
        InputSize = weight.Columns;
        _values = new NativeBuffer(weight.Rows * weight.Columns * sizeof(float));
        for (var row = 0; row < OutputSize; row++)
        {
            weight.DecodeRow(row, new Span<float>(Row(row), InputSize));
        }
    }

    public override int OutputSize { get; }

    public override int InputSize { get; }

    public override void Dispose() => _values.Dispose();

    internal float* Row(int row) => (float*)_values.Pointer + ((long)row * InputSize);
}
