namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>Makes tiles of a stored matrix.</summary>
internal sealed unsafe class TileDecoder
{
    /// <summary>
    /// Bytes that hold the rows of a panel that the matrix has fewer of, so that decoders find 32 of them.
    /// </summary>
    internal const int StagingBytes = Outputs * WeightTile.BlocksMax * WeightTile.BlockValues * 2;

    private const int Outputs = WeightTile.Outputs;
    private const int HalfOutputs = WeightTile.HalfOutputs;
    private const int LongRowBytes = 3072;

    // Every type's bytes for so many values are a whole number.
    private const int UnitBlocks = 8;

    private readonly TensorData _data;
    private readonly byte* _first;
    private readonly long _stride;
    private readonly int _unitBytes;
    private readonly int _blocks;

    internal TileDecoder(in TensorData data)
    {
        _data = data;
        _first = data.At(0, 0);
        _stride = TensorTypes.RowBytes(data.Type, data.Columns);
        _unitBytes = (int)TensorTypes.RowBytes(data.Type, UnitBlocks * WeightTile.BlockValues);
        _blocks = data.Columns / WeightTile.BlockValues;
    }

    /// <summary>Decodes a run of inputs of a panel.</summary>
    /// <param name="panel">Index of the panel.</param>
    /// <param name="nextPanel">The panel that is likely to be the next one.</param>
    /// <param name="firstBlock">First block of 32 inputs; a multiple of the type's own block.</param>
    /// <param name="blocks">Blocks, at most <see cref="WeightTile.BlocksMax"/>; whole blocks of the type.</param>
    /// <param name="cold">Whether nobody asked the memory for the panel before.</param>
    /// <param name="tile">Receives them, aligned to 64 bytes.</param>
    /// <param name="staging"><see cref="StagingBytes"/> bytes of working memory.</param>
    internal void Decode(
        int panel, int nextPanel, int firstBlock, int blocks, bool cold, byte* tile, byte* staging)
    {
        var firstRow = (long)panel * Outputs;
        var there = (int)Math.Min(Outputs, _data.Rows - firstRow);
        var source = _first + (firstRow * _stride) + Bytes(firstBlock);
        var stride = _stride;
        var fetch = Fetch(panel, nextPanel, firstBlock, blocks, cold);
        if (there < Outputs)
        {
            Stage(source, stride, there, Bytes(blocks), staging);
            source = staging;
            stride = Bytes(blocks);
            fetch = default;
        }

        for (var half = 0; half < 2; half++)
        {
            var rows = new TileRows(source + (half * HalfOutputs * stride), stride, fetch);
            if (cold && firstBlock == 0)
            {
                rows.FetchRun(Bytes(blocks));
            }

            Half(rows, blocks, tile, half);
            if (_data.Type == TensorType.Int4Group32)
            {
                var count = Math.Clamp(there - (half * HalfOutputs), 0, HalfOutputs);
                TileScales.Stored(
                    _data.Scales, firstRow + (half * HalfOutputs), count, firstBlock, blocks,
                    Ahead(panel, nextPanel, firstBlock + blocks == _blocks, blocks, _blocks),
                    tile + WeightTile.ScalesAt + (half * WeightTile.ScaleBytes / 2));
            }

            fetch = fetch with { Next = fetch.Next == 0 ? 0 : fetch.Next + (nint)(HalfOutputs * Bytes(blocks)) };
        }
    }

    private static void Stage(byte* source, long stride, int rows, long runBytes, byte* staging)
    {
        for (var row = 0; row < rows; row++)
        {
            Buffer.MemoryCopy(source + (row * stride), staging + (row * runBytes), runBytes, runBytes);
        }

        new Span<byte>(staging + (rows * runBytes), checked((int)((Outputs - rows) * runBytes))).Clear();
    }

    /// <summary>Bytes of blocks of a row.</summary>
    private long Bytes(int blocks) => (long)_unitBytes * blocks / UnitBlocks;

    private bool IsNext(int panel, int nextPanel) =>
        nextPanel != panel && (nextPanel + 1L) * Outputs <= _data.Rows;

    /// <summary>From a run to the one that comes after it, in a panel or in the next one; 0 is nowhere.</summary>
    private long Ahead(int panel, int nextPanel, bool rowEnds, long run, long stride) =>
        !rowEnds ? run
        : IsNext(panel, nextPanel) ? ((nextPanel - panel) * Outputs * stride) - (stride - run)
        : 0;

    /// <summary>
    /// Long rows are asked for run by run, short ones a panel at a time in the order of memory, which costs fewer
    /// translations of addresses.
    /// </summary>
    private TileFetch Fetch(int panel, int nextPanel, int firstBlock, int blocks, bool cold)
    {
        var runBytes = Bytes(blocks);
        var rowEnds = firstBlock + blocks == _blocks;
        if (_stride >= LongRowBytes)
        {
            return new TileFetch(Ahead(panel, nextPanel, rowEnds, runBytes, _stride), 0, 0);
        }

        var next = IsNext(panel, nextPanel)
            ? (nint)(_first + (nextPanel * Outputs * _stride) + (Outputs * Bytes(firstBlock)))
            : 0;
        return new TileFetch(cold && !rowEnds ? runBytes : 0, next, _unitBytes * HalfOutputs / UnitBlocks);
    }

    private void Half(in TileRows rows, int blocks, byte* tile, int half)
    {
        var bytes = tile + (half * WeightTile.HalfBytes);
        var scales = tile + WeightTile.ScalesAt + (half * WeightTile.ScaleBytes / 2);
        switch (_data.Type)
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
                throw new InvalidOperationException($"a matrix of {_data.Type}; expected blocks of integers");
        }
    }
}
