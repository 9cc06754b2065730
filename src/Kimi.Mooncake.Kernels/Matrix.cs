namespace Kimi.Mooncake.Kernels;

/// <summary>
/// A borrowed view of a single-precision matrix in native memory: row <c>i</c> starts <c>i * Stride</c> values after
/// the first. The owner (<see cref="Matrix"/>) must outlive the view.
/// </summary>
public readonly unsafe struct MatrixView
{
    internal MatrixView(float* data, int rows, int columns, int stride)
    {
        Data = data;
        Rows = rows;
        Columns = columns;
        Stride = stride;
    }

    internal float* Data { get; }

    /// <summary>Number of rows.</summary>
    public int Rows { get; }

    /// <summary>Values in a row.</summary>
    public int Columns { get; }

    /// <summary>Values from one row to the next.</summary>
    public int Stride { get; }

    /// <summary>One row, writable.</summary>
    public Span<float> Row(int row)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)Rows, nameof(row));
        return new Span<float>(Data + ((long)row * Stride), Columns);
    }

    /// <summary>Some consecutive rows.</summary>
    public MatrixView Slice(int first, int count)
    {
        if (first < 0 || count < 0 || first > Rows - count)
        {
            throw new ArgumentOutOfRangeException(nameof(first), $"rows {first}+{count} of {Rows}");
        }

        return new MatrixView(Data + ((long)first * Stride), count, Columns, Stride);
    }

    /// <summary>Some consecutive columns of every row.</summary>
    public MatrixView ColumnSlice(int first, int count)
    {
        if (first < 0 || count < 0 || first > Columns - count)
        {
            throw new ArgumentOutOfRangeException(nameof(first), $"columns {first}+{count} of {Columns}");
        }

        return new MatrixView(Data + first, Rows, count, Stride);
    }
}

/// <summary>A single-precision matrix that owns its native memory; rows are 64-byte aligned.</summary>
public sealed unsafe class Matrix : IDisposable
{
    private const int RowAlignmentValues = 16;
    private readonly NativeBuffer _buffer;

    /// <summary>Allocates a zeroed matrix.</summary>
    public Matrix(int rows, int columns)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(rows, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(columns, 1);
        Rows = rows;
        Columns = columns;
        Stride = (columns + RowAlignmentValues - 1) / RowAlignmentValues * RowAlignmentValues;
        _buffer = new NativeBuffer((long)rows * Stride * sizeof(float));
    }

    /// <summary>Rows allocated.</summary>
    public int Rows { get; }

    /// <summary>Values in a row.</summary>
    public int Columns { get; }

    /// <summary>Values from one row to the next.</summary>
    public int Stride { get; }

    /// <summary>All rows.</summary>
    public MatrixView All => View(Rows);

    /// <summary>The first <paramref name="rows"/> rows.</summary>
    public MatrixView View(int rows)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)rows, (uint)Rows, nameof(rows));
        return new MatrixView((float*)_buffer.Pointer, rows, Columns, Stride);
    }

    /// <summary>The first <paramref name="rows"/> rows, narrowed to <paramref name="columns"/> columns.</summary>
    public MatrixView View(int rows, int columns) => View(rows).ColumnSlice(0, columns);

    /// <inheritdoc />
    public void Dispose() => _buffer.Dispose();
}
