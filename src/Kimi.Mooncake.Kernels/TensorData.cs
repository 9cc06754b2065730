using Kimi.Mooncake.Kernels.Quantization;

namespace Kimi.Mooncake.Kernels;

/// <summary>
/// A borrowed, read-only view of a stored matrix: <see cref="Rows"/> rows of <see cref="Columns"/> little-endian
/// values, rows contiguous, and for some encodings a second tensor with their scales. The owner of the memory must
/// outlive the view.
/// </summary>
public readonly unsafe struct TensorData
{
    private readonly byte* _data;
    private readonly TensorScales _scales;
    private readonly long _rowBytes;
    private readonly bool _isFile;

    internal TensorData(byte* data, TensorType type, long rows, int columns, bool isFile = false)
        : this(data, type, rows, columns, default, isFile)
    {
    }

    private TensorData(byte* data, TensorType type, long rows, int columns, TensorScales scales, bool isFile)
    {
        _data = data;
        _isFile = isFile;
        _scales = scales;
        _rowBytes = TensorTypes.RowBytes(type, columns);
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

    /// <summary>Whether a second tensor scales the values.</summary>
    public bool HasScales => !_scales.IsEmpty;

    /// <summary>Bytes of the rows and of their scales.</summary>
    public long StoredBytes => (Rows * _rowBytes) + _scales.SizeBytes(Rows);

    /// <summary>Bytes of a stored matrix; without the scales where they are a tensor of their own.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A dimension is below 1, or the size exceeds 64 bits.</exception>
    /// <exception cref="ArgumentException">A row is no whole number of blocks.</exception>
    public static long SizeBytes(TensorType type, long rows, int columns)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(rows, 1);
        var rowBytes = TensorTypes.RowBytes(type, columns);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows, long.MaxValue / rowBytes);
        return rows * rowBytes;
    }

    /// <summary>
    /// FP8 values of which each block of rows and columns is multiplied by a scale of its own; blocks at the lower and
    /// right edges may be smaller.
    /// </summary>
    /// <param name="values">Values of type <see cref="TensorType.F8E4M3"/>, whole and without scales.</param>
    /// <param name="scales">
    /// F32, BF16 or F16 factors, <c>[rows / blockRows][columns / blockColumns]</c>, both rounded up.
    /// </param>
    /// <param name="blockRows">Rows of a block, at least 1.</param>
    /// <param name="blockColumns">Columns of a block, at least 1.</param>
    /// <exception cref="ArgumentException">Types or dimensions do not fit each other.</exception>
    public static TensorData WithBlockScales(TensorData values, TensorData scales, int blockRows, int blockColumns)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(blockRows, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(blockColumns, 1);
        if (values.Type != TensorType.F8E4M3 || values.HasScales
            || scales.Type is not (TensorType.F32 or TensorType.BF16 or TensorType.F16))
        {
            throw new ArgumentException(
                $"values are {values.Type} and scales {scales.Type}; expected F8E4M3 without scales, F32 or halves");
        }

        CheckScales(
            scales, ((values.Rows - 1) / blockRows) + 1, ((values.Columns - 1) / blockColumns) + 1,
            $"blocks of [{blockRows}][{blockColumns}] of [{values.Rows}][{values.Columns}] values");
        return new TensorData(
            values._data, values.Type, values.Rows, values.Columns,
            new TensorScales(scales._data, scales.Type, scales.Columns, blockRows, blockColumns), values._isFile);
    }

    /// <summary>compressed-tensors' packed integers with a scale for each 32 values of a row.</summary>
    /// <param name="words">Integers of type <see cref="TensorType.Int4Group32"/>, whole and without scales.</param>
    /// <param name="scales">BF16, F16 or F32 factors, <c>[rows][columns / 32]</c>.</param>
    /// <exception cref="ArgumentException">Types or dimensions do not fit each other.</exception>
    public static TensorData PackedInt4(TensorData words, TensorData scales)
    {
        if (words.Type != TensorType.Int4Group32 || words.HasScales
            || scales.Type is not (TensorType.BF16 or TensorType.F16 or TensorType.F32))
        {
            throw new ArgumentException(
                $"values are {words.Type} and scales {scales.Type}; expected packed integers without scales, and "
                + "BF16, F16 or F32");
        }

        var group = TensorTypes.BlockValues(words.Type);
        CheckScales(
            scales, words.Rows, words.Columns / group, $"groups of {group} of [{words.Rows}][{words.Columns}] values");
        return new TensorData(
            words._data, words.Type, words.Rows, words.Columns,
            new TensorScales(scales._data, scales.Type, scales.Columns, 1, group), words._isFile);
    }

    /// <summary>Rows <paramref name="first"/> to <paramref name="first"/> + <paramref name="count"/> - 1.</summary>
    public TensorData Slice(long first, long count)
    {
        if (first < 0 || count < 0 || first > Rows - count)
        {
            throw new ArgumentOutOfRangeException(nameof(first), $"rows {first}+{count} of {Rows}");
        }

        return new TensorData(_data + (first * _rowBytes), Type, count, Columns, _scales.From(first), _isFile);
    }

    /// <summary>Writes a row as single precision: the value that the encoding defines, rounded once at most.</summary>
    /// <param name="row">Index of the row.</param>
    /// <param name="destination">At least <see cref="Columns"/> values.</param>
    /// <exception cref="InvalidOperationException">Packed integers without scales.</exception>
    public void DecodeRow(long row, Span<float> destination)
    {
        fixed (float* target = destination[..Columns])
        {
            Decode(row, 0, Columns, target);
        }
    }

    /// <summary>The stored bytes of a row.</summary>
    /// <exception cref="InvalidOperationException">
    /// The values have scales in another tensor, so that the bytes alone say nothing.
    /// </exception>
    public ReadOnlySpan<byte> RowBytes(long row)
    {
        if (HasScales)
        {
            throw new InvalidOperationException($"a row of {Type} has scales in another tensor");
        }

        return StoredRow(row);
    }

    /// <summary>The factors that a tensor of their own keeps.</summary>
    internal TensorScales Scales => _scales;

    /// <summary>The bytes of a row without its scales.</summary>
    internal ReadOnlySpan<byte> StoredRow(long row)
    {
        CheckRow(row);
        return new ReadOnlySpan<byte>(_data + (row * _rowBytes), checked((int)_rowBytes));
    }

    /// <summary>The factor of a block of columns in a row.</summary>
    internal float Scale(long row, int block)
    {
        CheckRow(row);
        return _scales.At(row, block);
    }

    /// <summary>Part of a row as single precision.</summary>
    /// <param name="row">Index of the row.</param>
    /// <param name="first">First column, a multiple of the block.</param>
    /// <param name="count">Columns, a multiple of the block.</param>
    /// <param name="target">Receives the values.</param>
    internal void Decode(long row, int first, int count, float* target)
    {
        VectorDecoder.Decode(Type, At(row, first), _scales, row, first, count, target);
    }

    /// <summary>A row one value at a time, by the definition of the encoding.</summary>
    internal void DecodeByDefinition(long row, Span<float> destination)
    {
        CheckRow(row);
        fixed (float* target = destination[..Columns])
        {
            ScalarDecoder.Decode(Type, _data + (row * _rowBytes), _scales, row, 0, Columns, target);
        }
    }

    /// <summary>Where part of a row begins.</summary>
    /// <param name="row">Index of the row.</param>
    /// <param name="first">First column, a multiple of the block.</param>
    internal byte* At(long row, int first)
    {
        CheckRow(row);
        return _data + (row * _rowBytes)
            + ((long)first / TensorTypes.BlockValues(Type) * TensorTypes.BlockBytes(Type));
    }

    /// <summary>
    /// Lets go of the pages of a mapped file that hold nothing but these rows: the process no longer counts them as its
    /// memory, and whoever reads them again gets them from the file. Does nothing for rows that lie elsewhere.
    /// </summary>
    internal void ReleasePages()
    {
        if (_isFile)
        {
            MappedFile.ReleasePages(_data, Rows * _rowBytes);
        }
    }

    private static void CheckScales(in TensorData scales, long rows, long columns, string what)
    {
        if (scales.Rows != rows || scales.Columns != columns)
        {
            throw new ArgumentException(
                $"scales are [{scales.Rows}][{scales.Columns}]; expected [{rows}][{columns}] for {what}");
        }
    }

    private void CheckRow(long row)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(row);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, Rows);
    }
}
