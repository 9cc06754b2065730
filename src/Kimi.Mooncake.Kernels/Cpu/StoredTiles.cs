using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// Parts of stored matrices as the micro kernels want them: in single precision, a column for each stored row.
/// </summary>
internal static unsafe class StoredTiles
{
    /// <summary>Columns of a stored matrix that are decoded at once: a multiple of every encoding's block.</summary>
    internal const int RunValues = 256;

    /// <summary>Values of working memory that a call needs.</summary>
    internal const int StagingValues = RunValues * Transposition.Rows;

    private const int LineBytes = 64;

    /// <summary>
    /// <c>target[c * stride + r]</c> = value of stored row <c>firstRow + r</c>, column <c>firstColumn + c</c>; zeros
    /// for rows that are not there.
    /// </summary>
    /// <param name="data">Stored matrix.</param>
    /// <param name="firstRow">First stored row.</param>
    /// <param name="rows">Rows to write, a multiple of 8; those beyond the matrix are zeros.</param>
    /// <param name="firstColumn">First column, a multiple of the run.</param>
    /// <param name="columns">Columns; a multiple of the encoding's block.</param>
    /// <param name="target">Receives the values.</param>
    /// <param name="stride">Values from one column to the next.</param>
    /// <param name="staging">Working memory.</param>
    internal static void Columns(
        in TensorData data,
        long firstRow,
        int rows,
        int firstColumn,
        int columns,
        float* target,
        long stride,
        float* staging)
    {
        for (var column = 0; column < columns; column += RunValues)
        {
            var count = Math.Min(RunValues, columns - column);
            for (var row = 0; row < rows; row += Transposition.Rows)
            {
                var there = (int)Math.Clamp(data.Rows - firstRow - row, 0, Transposition.Rows);
                var from = Rows(data, firstRow + row, there, firstColumn + column, count, staging, out var lds);
                Transposition.Turn(from, lds, Transposition.Rows, count, target + (column * stride) + row, stride);
            }
        }
    }

    /// <summary>Eight rows in single precision: where they are stored so, or decoded into the staging memory.</summary>
    private static float* Rows(
        in TensorData data, long first, int count, int firstColumn, int columns, float* staging, out long lds)
    {
        if (data.Type == TensorType.F32 && count == Transposition.Rows)
        {
            for (var row = 0; row < count; row++)
            {
                Prefetch(data, first + row, firstColumn + columns);
            }

            lds = data.Columns;
            return (float*)data.At(first, firstColumn);
        }

        for (var row = 0; row < count; row++)
        {
            data.Decode(first + row, firstColumn, columns, staging + ((long)row * RunValues));
            Prefetch(data, first + row, firstColumn + columns);
        }

        new Span<float>(staging + ((long)count * RunValues), (Transposition.Rows - count) * RunValues).Clear();
        lds = RunValues;
        return staging;
    }

    /// <summary>Asks for the row's next run: there are too many rows at once for the processor to foresee it.</summary>
    private static void Prefetch(in TensorData data, long row, int column)
    {
        if (!Sse.IsSupported || column + RunValues > data.Columns)
        {
            return;
        }

        var next = data.At(row, column);
        var bytes = RunValues / TensorTypes.BlockValues(data.Type) * TensorTypes.BlockBytes(data.Type);
        for (var offset = 0; offset < bytes; offset += LineBytes)
        {
            Sse.Prefetch0(next + offset);
        }
    }
}
