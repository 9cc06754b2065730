using Kimi.Mooncake.Kernels.Cpu.Int8;

namespace Kimi.Mooncake.Kernels.Cpu.Amx;

/// <summary>
/// What a routine is assembled for. Its sums go by steps: 32 values of a row where weights have a scale for each 32,
/// 16 where they have one for each 16. Weights of a step are signed bytes <c>[k / 4][16 outputs][k % 4]</c>.
/// </summary>
/// <param name="Rows">Rows of inputs, 1 to 16.</param>
/// <param name="Depth">Values of a step, 16 or 32.</param>
/// <param name="HasMins">Whether weights have a part that multiplies the sums of the inputs.</param>
/// <param name="WeightStep">Bytes from the weights of an even step to those of the odd one after it.</param>
/// <param name="WeightPair">Bytes from the weights of an even step to those of the next even one.</param>
/// <param name="ScaleStep">The same for scales, and for mins.</param>
/// <param name="ScalePair">The same for scales, and for mins.</param>
internal readonly record struct AmxShape(
    int Rows, int Depth, bool HasMins, int WeightStep, int WeightPair, int ScaleStep, int ScalePair)
{
    internal const int BlockValues = ActivationRows.BlockValues;
    internal const int Lanes = 16;
    internal const int LaneBytes = Lanes * sizeof(float);
    internal const int RowsMax = TileConfiguration.RowsMax;

    /// <summary>Bytes of a block of signed weights of 32 outputs, 16 after 16.</summary>
    internal const int SignedBlockBytes = 2 * WeightTile.HalfBytes;

    /// <summary>Bytes of what each block of 32 inputs has for 16 rows: a scale and, for mins, a factor.</summary>
    internal int RowScaleBytes => HasMins ? 2 * LaneBytes : LaneBytes;

    /// <summary>Bytes from the row scales of an even step to those of the odd one after it.</summary>
    internal int RowScaleStep => Depth == BlockValues ? RowScaleBytes : 0;

    /// <summary>Bytes from the row scales of an even step to those of the next even one.</summary>
    internal int RowScalePair => Depth == BlockValues ? 2 * RowScaleBytes : RowScaleBytes;

    /// <summary>
    /// What the tiles of a kind need. Their bytes are signed as they stand where there are mins, and otherwise in
    /// blocks of <see cref="SignedBlockBytes"/> of their own.
    /// </summary>
    internal static AmxShape Of(TileKind kind, int rows)
    {
        var block = new TileFormat(kind, 0).BlockBytes;
        return kind switch
        {
            TileKind.Plain => new(
                rows, BlockValues, false, SignedBlockBytes, 2 * SignedBlockBytes, block, 2 * block),
            TileKind.Minimum => new(rows, BlockValues, true, block, 2 * block, block, 2 * block),
            _ => new(
                rows, BlockValues / 2, false, WeightTile.HalfBytes / 2, SignedBlockBytes,
                WeightTile.SecondAt - WeightTile.ScalesAt, block),
        };
    }
}
