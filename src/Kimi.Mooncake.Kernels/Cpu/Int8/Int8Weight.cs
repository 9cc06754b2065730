using Kimi.Mooncake.Kernels.Cpu.Generated;
using Kimi.Mooncake.Kernels.Quantization;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>
/// A block-quantized matrix as it is stored. A task makes tiles of bytes from a run of inputs of a panel and multiplies
/// all its rows with it; sums within a block are exact integers.
/// </summary>
internal sealed unsafe class Int8Weight : PanelWeight
{
    // About as long as handing out a few hundred tasks takes altogether.
    private const int TaskBytesMin = 64 << 10;
    private const int TasksOfSmallWeight = 8;
    private const int ScratchAlignment = 64;

    // Going over a panel in the second-level cache once more takes less than making a tile of it.
    private const int StreamedRowsMax = 3;
    private static readonly Lazy<MachineCode> ByteStreams =
        new(() => new MachineCode(new ByteStreamRoutine(TensorType.Q8_0).Write));

    private static readonly Lazy<MachineCode> NibbleStreams =
        new(() => new MachineCode(new ByteStreamRoutine(TensorType.Q4_K).Write));


    private readonly TensorData _stored;
    private readonly TileDecoder _tiles;
    private readonly TileFormat _format;
    private readonly Int8Kernel _kernel;
    private readonly MachineCode? _stream;
    private readonly int _blocks;

    /// <summary>Borrows a stored matrix.</summary>
    /// <exception cref="ArgumentException">The type has no blocks of integers.</exception>
    /// <exception cref="InvalidOperationException">Packed integers without scales.</exception>
    internal Int8Weight(in TensorData weight, InstructionPath path)
        : this(weight, format => Int8Kernel.For(path, format))
    {
        if (path >= InstructionPath.Avx512 && ByteStreamRoutine.Supports(weight.Type)
            && weight.Columns % ByteStreamRoutine.TurnValues(weight.Type) == 0
            && _blocks * ByteStreamRoutine.TableBlockBytes <= ScratchBytes - ScratchAlignment)
        {
            _stream = weight.Type == TensorType.Q8_0 ? ByteStreams.Value : NibbleStreams.Value;
        }
    }

    /// <summary>The same with a kernel of one's own.</summary>
    internal Int8Weight(in TensorData weight, Func<TileFormat, Int8Kernel> kernelFor)
        : base(checked((int)weight.Rows), weight.Columns)
    {
        _format = TileFormat.Of(weight.Type)
            ?? throw new ArgumentException($"a weight of {weight.Type}; expected blocks of integers", nameof(weight));
        if (weight.Type == TensorType.Int4Group32 && !weight.HasScales)
        {
            throw ScalarDecoder.NoScales();
        }

        _stored = weight;
        _tiles = new TileDecoder(weight);
        _kernel = kernelFor(_format);
        _blocks = weight.Columns / WeightTile.BlockValues;
    }

    internal override ActivationForms Form => ActivationForms.Int8;

    internal override long ScratchBytes =>
        WeightTile.BytesMax + TileDecoder.StagingBytes + sizeof(long) + ScratchAlignment;

    internal override int RowsPerTask => 512;

    internal override int PanelWork => 16;

    /// <summary>Whether products with a type are made of bytes.</summary>
    internal static bool Supports(TensorType type) => TileFormat.Of(type) is not null;

    internal override int PanelsPerTask(int rows)
    {
        var panelBytes = TensorTypes.RowBytes(_stored.Type, _stored.Columns) * PanelColumns;
        var enough = (int)((TaskBytesMin + panelBytes - 1) / panelBytes);
        return Math.Clamp(PanelCount / TasksOfSmallWeight, 1, enough);
    }

    internal override void Multiply(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch)
    {
        if (rows <= StreamedRowsMax && _stream is not null && (panel + panels) * PanelColumns <= OutputSize)
        {
            MultiplyRows(panel, panels, x, firstRow, rows, y, ldy, scratch);
            return;
        }

        var sums = _format.Kind == TileKind.Halves ? 2 : 1;
        var tile = (byte*)(((nuint)scratch + ScratchAlignment - 1) & ~(nuint)(ScratchAlignment - 1));
        var whole = new Int8Run
        {
            Tile = tile,
            X = x.Int8,
            XStride = x.Int8Stride,
            Scales = x.Scales,
            Sums = sums == 2 ? x.NegatedHalfSums : x.NegatedSums,
            ScaledSums = x.ScaledSums,
            BlockStride = (long)x.BlockStride * sizeof(float),
            YStride = ldy * sizeof(float),
        }.From(firstRow, sums);
        whole.Rows = rows;

        // A member goes through a range of panels; behind its working memory stands what it asked for last.
        var afterwards = panel + panels;
        var asked = (nint*)(tile + WeightTile.BytesMax + TileDecoder.StagingBytes);
        var cold = *asked != (nint)_stored.At((long)panel * PanelColumns, 0);
        *asked = afterwards < PanelCount ? (nint)_stored.At((long)afterwards * PanelColumns, 0) : 0;
        for (var i = 0; i < panels; i++)
        {
            for (var block = 0; block < _blocks; block += WeightTile.BlocksMax)
            {
                var run = whole;
                run.Blocks = Math.Min(WeightTile.BlocksMax, _blocks - block);
                run.X += (long)block * WeightTile.BlockValues;
                run.Scales += block;
                run.Sums += block * sums;
                run.ScaledSums += block;
                run.Y = y + (i * PanelColumns);
                run.Accumulate = block;
                _tiles.Decode(
                    panel + i, i + 1 < panels ? panel + i + 1 : afterwards, block, (int)run.Blocks,
                    cold && i == 0, tile, tile + WeightTile.BytesMax);
                _kernel.Multiply(run);
            }
        }
    }

    private void MultiplyRows(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch)
    {
        if (_stored.Type == TensorType.Q4_K)
        {
            MultiplyByTables(panel, panels, x, firstRow, rows, y, ldy, scratch);
            return;
        }

        // One row goes through all panels in a call; several take turns at each panel while a cache holds it.
        var step = rows == 1 ? panels : 1;
        for (var i = 0; i < panels; i += step)
        {
            for (var row = 0; row < rows; row++)
            {
                var stream = Stream((panel + i) * PanelColumns, step * PanelColumns, x, firstRow + row);
                stream.Y = y + (row * ldy) + (i * PanelColumns);
                _stream!.Call(&stream);
            }
        }
    }

    private void MultiplyByTables(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch)
    {
        var table = (byte*)(((nuint)scratch + ScratchAlignment - 1) & ~(nuint)(ScratchAlignment - 1));
        var stride = TensorTypes.RowBytes(_stored.Type, _stored.Columns);
        for (var output = 0; output < panels * PanelColumns; output += ByteStreamRoutine.StoredRows)
        {
            var first = (panel * PanelColumns) + output;
            KBlockTiles.Q4Table(new TileRows(_stored.At(first, 0), stride, default), _blocks, table);
            for (var row = 0; row < rows; row++)
            {
                var stream = Stream(first, ByteStreamRoutine.StoredRows, x, firstRow + row);
                stream.Table = table;
                stream.Y = y + (row * ldy) + output;
                _stream!.Call(&stream);
            }
        }
    }

    private ByteStream Stream(int firstOutput, int outputs, ActivationRows x, int row) => new()
    {
        Rows = _stored.At(firstOutput, 0),
        Stride = TensorTypes.RowBytes(_stored.Type, _stored.Columns),
        Turns = _stored.Columns / ByteStreamRoutine.TurnValues(_stored.Type),
        X = x.Int8 + ((long)row * x.Int8Stride),
        Scales = x.Scales + ((long)row * x.BlockStride),
        Sums = x.NegatedSums + ((long)row * x.BlockStride),
        ScaledSums = x.ScaledSums + ((long)row * x.BlockStride),
        Groups = outputs / ByteStreamRoutine.StoredRows,
        Afterwards = _stored.At(Math.Min((long)firstOutput + outputs, _stored.Rows - 1), 0),
    };

    public override void Dispose()
    {
        // Nothing is owned: the stored matrix belongs to its file.
    }
}
