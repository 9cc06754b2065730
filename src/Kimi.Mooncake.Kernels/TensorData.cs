namespace Kimi.Mooncake.Kernels;

/// <summary>How the values of a stored tensor are encoded.</summary>
public enum TensorType
{
    /// <summary>IEEE single precision.</summary>
    F32,

    /// <summary>IEEE half precision.</summary>
    F16,

    /// <summary>The upper half of a single.</summary>
    BF16,
}

/// <summary>
/// A borrowed, read-only view of a stored matrix: <see cref="Rows"/> rows of <see cref="Columns"/> little-endian
/// values, rows contiguous. The owner of the memory must outlive the view.
/// </summary>
public readonly unsafe struct TensorData
{
    private readonly byte* _data;

    internal TensorData(byte* data, TensorType type, long rows, int columns)
    {
        _data = data;
        Type = type;
        Rows = rows;
        Columns = columns;
    }

    /// <summary>Encoding of the values.</summary>
    public TensorType Type { get; }

    /// <summary>Number of rows.</summary>
    public long Rows { get; }

    /// <summary>Values in a row.</summary>
    public int Columns { get; }

    /// <summary>Bytes of one value of the given type.</summary>
    public static int ElementBytes(TensorType type) => type == TensorType.F32 ? 4 : 2;

    /// <summary>Bytes of a stored matrix.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A dimension is below 1, or the size exceeds 64 bits.</exception>
    public static long SizeBytes(TensorType type, long rows, int columns)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(rows, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(columns, 1);
        var rowBytes = (long)columns * ElementBytes(type);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows, long.MaxValue / rowBytes);
        return rows * rowBytes;
    }

    /// <summary>Rows <paramref name="first"/> to <paramref name="first"/> + <paramref name="count"/> - 1.</summary>
    public TensorData Slice(long first, long count)
    {
        if (first < 0 || count < 0 || first > Rows - count)
        {
            throw new ArgumentOutOfRangeException(nameof(first), $"rows {first}+{count} of {Rows}");
        }

        return new TensorData(_data + (first * Columns * ElementBytes(Type)), Type, count, Columns);
    }

    /// <summary>Writes a row as single precision. Exact for all three types.</summary>
    /// <param name="row">Index of the row.</param>
    /// <param name="destination">At least <see cref="Columns"/> values.</param>
    public void DecodeRow(long row, Span<float> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(row);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, Rows);
        var source = _data + (row * Columns * ElementBytes(Type));
        switch (Type)
        {
            case TensorType.F32:
                new ReadOnlySpan<float>(source, Columns).CopyTo(destination);
                break;
            case TensorType.F16:
                System.Numerics.Tensors.TensorPrimitives.ConvertToSingle(
                    new ReadOnlySpan<Half>(source, Columns), destination);
                break;
            default:
                DecodeBrainFloat(new ReadOnlySpan<ushort>(source, Columns), destination);
                break;
        }
    }

    private static void DecodeBrainFloat(ReadOnlySpan<ushort> source, Span<float> destination)
    {
        for (var i = 0; i < source.Length; i++)
        {
            destination[i] = BitConverter.UInt32BitsToSingle((uint)source[i] << 16);
        }
    }
}
