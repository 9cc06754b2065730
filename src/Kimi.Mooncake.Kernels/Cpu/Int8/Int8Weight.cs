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

    private readonly TensorData _stored;
    private readonly IDisposable? _memory;
    private readonly TileDecoder _tiles;
    private readonly TileFormat _format;
    private readonly Int8Kernel _kernel;
    private readonly ByteStreams? _stream;
    private readonly long _panelBytes;
    private readonly int _blocks;

    /// <summary>Borrows a stored matrix.</summary>
    /// <param name="weight">The matrix.</param>
    /// <param name="path">Instructions.</param>
    /// <param name="memory">What it lies in, disposed of with it; null where that is somebody else's.</param>
    /// <exception cref="ArgumentException">The type has no blocks of integers.</exception>
    /// <exception cref="InvalidOperationException">Packed integers without scales.</exception>
    internal Int8Weight(in TensorData weight, InstructionPath path, IDisposable? memory = null)
        : this(weight, format => Int8Kernel.For(path, format))
    {
        _stream = ByteStreams.For(weight, path);
        _memory = memory;
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
        _panelBytes = TensorTypes.RowBytes(weight.Type, weight.Columns) * PanelColumns;
    }

    internal override ActivationForms Form => ActivationForms.Int8;

    internal override long ScratchBytes =>
        ScratchAlignment + Math.Max(
            WeightTile.BytesMax + TileDecoder.StagingBytes + sizeof(long), _stream?.ScratchBytes ?? 0);

    internal override int RowsPerTask => 512;

    internal override int PanelWork => 16;

    /// <summary>Whether products with a type are made of bytes.</summary>
    internal static bool Supports(TensorType type) => TileFormat.Of(type) is not null;

    internal override int PanelsPerTask(int rows)
    {
        var enough = (int)((TaskBytesMin + _panelBytes - 1) / _panelBytes);
        return Math.Clamp(PanelCount / TasksOfSmallWeight, 1, enough);
    }

    internal override byte* PanelStart(int panel) => _stored.At((long)panel * PanelColumns, 0);

    internal override void Multiply(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch) =>
        Multiply(panel, panels, x, firstRow, rows, y, ldy, scratch, null);

    internal override void Multiply(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch,
        byte* afterwards)
    {
        if (_stream is not null && rows <= _stream.RowsMax)
        {
            // Only whole panels are streamed.
            var whole = Math.Clamp((OutputSize / PanelColumns) - panel, 0, panels);
            _stream.Multiply(
                panel * PanelColumns, whole * PanelColumns, x, firstRow, rows, y, ldy, scratch, afterwards);
            panel += whole;
            panels -= whole;
            y += whole * PanelColumns;
        }

        if (panels > 0)
        {
            MultiplyTiles(panel, panels, x, firstRow, rows, y, ldy, scratch);
        }
    }

    private void MultiplyTiles(
        int panel, int panels, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch)
    {
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

    public override void Dispose() => _memory?.Dispose();
}
