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
    internal int BlockBytes => Kind == TileKind.Plain ? WeightTile.SecondAt : WeightTile.SecondAt + WeightTile.ScaleBytes;

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
internal static unsafe class WeightTile
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

    private const int LongRowBytes = 3072;

    /// <summary>Most blocks of a call.</summary>
    internal const int BlocksMax = 16;

    /// <summary>Bytes of the largest tile.</summary>
    internal const int BytesMax = BlocksMax * (SecondAt + ScaleBytes);

    /// <summary>
    /// Bytes that hold the rows of a panel that the matrix has fewer of, so that decoders find 32 of them.
    /// </summary>
    internal const int StagingBytes = Outputs * BlocksMax * BlockValues * 2;

    /// <summary>Decodes a run of inputs of a panel.</summary>
    /// <param name="data">Stored matrix of a type that has a <see cref="TileFormat"/>.</param>
    /// <param name="panel">Index of the panel.</param>
    /// <param name="nextPanel">The panel that is likely to be the next one.</param>
    /// <param name="firstBlock">First block of 32 inputs; a multiple of the type's own block.</param>
    /// <param name="blocks">Blocks, at most <see cref="BlocksMax"/>; whole blocks of the type.</param>
    /// <param name="cold">Whether nobody asked for the panel before.</param>
    /// <param name="tile">Receives them, aligned to 64 bytes.</param>
    /// <param name="staging"><see cref="StagingBytes"/> bytes of working memory.</param>
    internal static void Decode(
        in TensorData data, int panel, int nextPanel, int firstBlock, int blocks, bool cold, byte* tile, byte* staging)
    {
        var firstRow = (long)panel * Outputs;
        var there = (int)Math.Min(Outputs, data.Rows - firstRow);
        var source = data.At(firstRow, firstBlock * BlockValues);
        var stride = TensorTypes.RowBytes(data.Type, data.Columns);
        var runBytes = TensorTypes.RowBytes(data.Type, blocks * BlockValues);
        var fetch = Fetch(data, panel, nextPanel, firstBlock, blocks, cold, out var scalesAhead);
        if (there < Outputs)
        {
            for (var row = 0; row < there; row++)
            {
                Buffer.MemoryCopy(source + (row * stride), staging + (row * runBytes), runBytes, runBytes);
            }

            new Span<byte>(staging + (there * runBytes), checked((int)((Outputs - there) * runBytes))).Clear();
            source = staging;
            stride = runBytes;
            fetch = default;
        }

        if (cold && firstBlock == 0)
        {
            new TileRows(source, stride, fetch).FetchRun(runBytes);
            new TileRows(source + (HalfOutputs * stride), stride, fetch).FetchRun(runBytes);
        }

        for (var half = 0; half < 2; half++)
        {
            var rows = new TileRows(source + (half * HalfOutputs * stride), stride, fetch);
            Half(data.Type, rows, blocks, tile, half);
            if (data.Type == TensorType.Int4Group32)
            {
                var count = Math.Clamp(there - (half * HalfOutputs), 0, HalfOutputs);
                TileScales.Stored(
                    data.Scales, firstRow + (half * HalfOutputs), count, firstBlock, blocks, scalesAhead,
                    tile + ScalesAt + (half * ScaleBytes / 2));
            }

            fetch = fetch with { Next = fetch.Next == 0 ? 0 : fetch.Next + (nint)(HalfOutputs * runBytes) };
        }
    }

    /// <summary>
    /// Long rows are asked for run by run, short ones a panel at a time in the order of memory, which costs fewer
    /// translations of addresses.
    /// </summary>
    private static TileFetch Fetch(
        in TensorData data, int panel, int nextPanel, int firstBlock, int blocks, bool cold, out long scalesAhead)
    {
        var stride = TensorTypes.RowBytes(data.Type, data.Columns);
        var runBytes = TensorTypes.RowBytes(data.Type, blocks * BlockValues);
        var scales = data.Columns / BlockValues;
        var rowEnds = firstBlock + blocks == scales;
        var isNext = nextPanel != panel && (nextPanel + 1L) * Outputs <= data.Rows;
        var down = (nextPanel - panel) * (long)Outputs;
        scalesAhead = !rowEnds ? blocks : isNext ? (down * scales) - (scales - blocks) : 0;
        if (stride >= LongRowBytes)
        {
            return new TileFetch(!rowEnds ? runBytes : isNext ? (down * stride) - (stride - runBytes) : 0, 0, 0);
        }

        var next = isNext
            ? (nint)data.At((long)nextPanel * Outputs, 0) + (nint)(Outputs * runBytes / blocks * firstBlock)
            : 0;
        return new TileFetch(cold && !rowEnds ? runBytes : 0, next, (int)(HalfOutputs * runBytes / blocks));
    }

    private static void Half(TensorType type, in TileRows rows, int blocks, byte* tile, int half)
    {
        var bytes = tile + (half * HalfBytes);
        var scales = tile + ScalesAt + (half * ScaleBytes / 2);
        switch (type)
        {
            case TensorType.Q8_0:
                BlockTiles.Q8_0(rows, blocks, bytes, scales);
                break;
            case TensorType.Q4_0:
                BlockTiles.Q4_0(rows, blocks, bytes, scales);
                break;
            case TensorType.Q4_1:
                BlockTiles.Q4_1(rows, blocks, bytes, scales);
                break;
            case TensorType.Q5_0:
                BlockTiles.Q5_0(rows, blocks, bytes, scales);
                break;
            case TensorType.Q5_1:
                BlockTiles.Q5_1(rows, blocks, bytes, scales);
                break;
            case TensorType.MXFP4:
                BlockTiles.Mxfp4(rows, blocks, bytes, scales);
                break;
            case TensorType.Int4Group32:
                BlockTiles.Int4(rows, blocks, bytes);
                break;
            case TensorType.Q4_K:
                KBlockTiles.Q4(rows, blocks, bytes, scales);
                break;
            case TensorType.Q5_K:
                KBlockTiles.Q5(rows, blocks, bytes, scales);
                break;
            case TensorType.Q6_K:
                KBlockTiles.Q6(rows, blocks, bytes, scales);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "expected a block-quantized encoding");
        }
    }
}
