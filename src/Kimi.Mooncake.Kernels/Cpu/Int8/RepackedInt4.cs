using Kimi.Mooncake.Kernels.Quantization;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>
/// Packed integers repacked to Q4_0 when they are loaded: scales then lie beside their integers, one stream instead of
/// two. Only what stays the same values is repacked, so products have the same bits.
/// </summary>
internal static unsafe class RepackedInt4
{
    private const int RowsPerTask = 32;

    /// <summary>The same matrix as Q4_0, and the memory that it lies in.</summary>
    /// <param name="int4">Packed integers with scales.</param>
    /// <param name="memory">Where it is put.</param>
    /// <param name="team">Who repacks.</param>
    /// <param name="q4_0">The matrix; valid until the piece is given back.</param>
    /// <returns>The piece; null where memory is not left, or where a scale is no half.</returns>
    /// <exception cref="InvalidOperationException">Packed integers without scales.</exception>
    internal static RepackMemory.Piece? TryMake(
        TensorData int4, RepackMemory memory, WorkerTeam team, out TensorData q4_0)
    {
        q4_0 = default;
        if (!int4.HasScales)
        {
            throw ScalarDecoder.NoScales();
        }

        var piece = memory.TryTake(TensorData.SizeBytes(TensorType.Q4_0, int4.Rows, int4.Columns));
        if (piece is null)
        {
            return null;
        }

        var repacked = new TensorData(piece.Pointer, TensorType.Q4_0, int4.Rows, int4.Columns);
        var isExact = true;
        var rowBytes = (int)TensorTypes.RowBytes(TensorType.Q4_0, int4.Columns);
        team.Run(
            (task, _) =>
            {
                var end = Math.Min(int4.Rows, (task + 1L) * RowsPerTask);
                for (var row = (long)task * RowsPerTask; row < end && Volatile.Read(ref isExact); row++)
                {
                    if (!TensorEncoder.TryRepackInt4(int4, row, new Span<byte>(repacked.At(row, 0), rowBytes)))
                    {
                        Volatile.Write(ref isExact, false);
                    }
                }
            },
            checked((int)((int4.Rows + RowsPerTask - 1) / RowsPerTask)),
            int4.Rows * int4.Columns);
        if (!isExact)
        {
            piece.Dispose();
            return null;
        }

        q4_0 = repacked;
        return piece;
    }
}
