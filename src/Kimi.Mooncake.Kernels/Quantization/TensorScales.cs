using System.Runtime.CompilerServices;

namespace Kimi.Mooncake.Kernels.Quantization;

/// <summary>
/// Factors of blocks of a stored matrix, in a tensor of their own. Remembers which row of the whole matrix is the
/// first one of a slice, so that blocks of rows stay where they are.
/// </summary>
internal readonly unsafe struct TensorScales
{
    private readonly byte* _data;
    private readonly TensorType _type;
    private readonly int _stride;
    private readonly int _blockRows;
    private readonly long _firstRow;

    internal TensorScales(byte* data, TensorType type, int stride, int blockRows, int blockColumns, long firstRow = 0)
    {
        _data = data;
        _type = type;
        _stride = stride;
        _blockRows = blockRows;
        BlockColumns = blockColumns;
        _firstRow = firstRow;
    }

    internal bool IsEmpty => _data == null;

    /// <summary>Columns that share a factor.</summary>
    internal int BlockColumns { get; }

    /// <summary>F32, F16 or BF16.</summary>
    internal TensorType Type => _type;

    /// <summary>Factors from a row of blocks to the next.</summary>
    internal int Stride => _stride;

    /// <summary>Where the factors of a row's blocks of columns lie.</summary>
    internal byte* RowOf(long row) => _data + (RowStart(row) * TensorTypes.BlockBytes(_type));

    /// <summary>The factors of a slice that begins <paramref name="rows"/> rows later.</summary>
    internal TensorScales From(long rows) =>
        new(_data, _type, _stride, _blockRows, BlockColumns, _firstRow + rows);

    /// <summary>Bytes of the factors of the first rows of the slice; none where there are no factors.</summary>
    internal long SizeBytes(long rows) => IsEmpty || rows == 0
        ? 0
        : (((_firstRow + rows - 1) / _blockRows) - (_firstRow / _blockRows) + 1)
            * TensorData.SizeBytes(_type, 1, _stride);

    /// <summary>Index of the factor of a row's first block of columns; those of the next blocks follow.</summary>
    internal long RowStart(long row) => (_firstRow + row) / _blockRows * _stride;

    /// <summary>A factor.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal float At(long index) => _type switch
    {
        TensorType.F32 => ((float*)_data)[index],
        TensorType.F16 => (float)((Half*)_data)[index],
        _ => BitConverter.UInt32BitsToSingle((uint)((ushort*)_data)[index] << 16),
    };

    /// <summary>The factor of a block of columns in a row of the slice.</summary>
    internal float At(long row, int block) => At(RowStart(row) + block);
}
