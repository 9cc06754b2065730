namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>What a tile's blocks hold beside their bytes.</summary>
internal enum TileKind
{
    /// <summary>A scale.</summary>
    Plain,

    /// <summary>A scale and a minimum.</summary>
    Minimum,

    /// <summary>A scale for each half of the block.</summary>
    Halves,
}

/// <summary>How a type's values stand in tiles: <c>scale * (byte - 2^ZeroShift) - minimum</c>.</summary>
/// <param name="Kind">What the blocks hold.</param>
/// <param name="ZeroShift">Logarithm of the byte that stands for zero; none where there are minima.</param>
internal readonly record struct TileFormat(TileKind Kind, int ZeroShift)
{
    /// <summary>Bytes of a block of 32 inputs by 32 outputs.</summary>
    internal int BlockBytes =>
        Kind == TileKind.Plain ? WeightTile.SecondAt : WeightTile.SecondAt + WeightTile.ScaleBytes;

    /// <summary>The form of a type, or nothing where products with it are not made of bytes.</summary>
    internal static TileFormat? Of(TensorType type) => type switch
    {
        TensorType.Q8_0 => new(TileKind.Plain, 7),
        TensorType.Q4_0 or TensorType.Int4Group32 => new(TileKind.Plain, 3),
        TensorType.Q5_0 or TensorType.MXFP4 => new(TileKind.Plain, 4),
        TensorType.Q4_1 or TensorType.Q5_1 or TensorType.Q4_K or TensorType.Q5_K => new(TileKind.Minimum, 0),
        TensorType.Q6_K => new(TileKind.Halves, 5),
        _ => null,
    };
}

/// <summary>
/// Stored weights of 32 outputs as the kernels want them. For each 32 inputs: for each 16 outputs 8 vectors of
/// <c>[output][4 inputs]</c> unsigned bytes; then the scales of the 32 outputs in single precision; then their minima
/// or the scales of the upper 16 inputs, where the kind has such.
/// </summary>
internal static class WeightTile
{
    internal const int Outputs = 32;
    internal const int BlockValues = 32;

    /// <summary>Outputs that are decoded together.</summary>
    internal const int HalfOutputs = 16;
    internal const int GroupBytes = 64;
    internal const int HalfBytes = 512;
    internal const int ScalesAt = 1024;
    internal const int SecondAt = 1152;
    internal const int ScaleBytes = 128;

    /// <summary>Most blocks of a call.</summary>
    internal const int BlocksMax = 16;

    /// <summary>Bytes of the largest tile.</summary>
    internal const int BytesMax = BlocksMax * (SecondAt + ScaleBytes);
}
