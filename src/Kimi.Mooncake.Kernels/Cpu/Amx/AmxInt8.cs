using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Kimi.Mooncake.Kernels.Cpu.Int8;

namespace Kimi.Mooncake.Kernels.Cpu.Amx;

/// <summary>
/// Products of bytes with sums in tile registers, 16 rows by 16 outputs. The bytes of a tile of weights are made signed
/// first, so that sums need no correction. Few rows go to another kernel: a tile of them costs as much as a full one.
/// </summary>
/// <param name="format">Form of the tiles.</param>
/// <param name="routine">Executes the routines for tiles of that kind.</param>
/// <param name="few">Multiplies fewer rows than <see cref="RowsMin"/>.</param>
internal sealed unsafe class AmxInt8(TileFormat format, AmxRoutine routine, Int8Kernel few) : Int8Kernel
{
    internal const int RowsMin = 8;

    private const int TilesAtOnce = 4;
    private const int Alignment = 64;
    private const int SumsAt = TileConfiguration.SizeBytes;
    private const int RowScalesAt = SumsAt + AmxAssembly.ScratchBytes;
    private const int RowScalesBytes = TilesAtOnce * WeightTile.BlocksMax * 2 * AmxShape.LaneBytes;
    private const int WeightsAt = RowScalesAt + RowScalesBytes;
    private const int ScratchBytes = WeightsAt + (WeightTile.BlocksMax * AmxShape.SignedBlockBytes);

    private static readonly Lock Gate = new();
    private static readonly Dictionary<TileKind, AmxCode> Code = [];

    /// <summary>The kernel that this processor executes.</summary>
    internal static AmxInt8 For(TileFormat format) =>
        new(format, CodeFor(format.Kind).Call, GeneratedInt8.For(format));

    /// <summary>The routines for tiles of a kind; assembled once for the process.</summary>
    internal static AmxCode CodeFor(TileKind kind)
    {
        lock (Gate)
        {
            if (!Code.TryGetValue(kind, out var code))
            {
                code = new AmxCode(kind);
                Code.Add(kind, code);
            }

            return code;
        }
    }

    [SkipLocalsInit]
    internal override void Multiply(in Int8Run run)
    {
        if (run.Rows < RowsMin)
        {
            few.Multiply(run);
            return;
        }

        ArgumentOutOfRangeException.ThrowIfGreaterThan(run.Blocks, WeightTile.BlocksMax);
        var memory = stackalloc byte[ScratchBytes + Alignment];
        var scratch = (byte*)(((nuint)memory + Alignment - 1) & ~(nuint)(Alignment - 1));
        var weights = run.Tile;
        if (format.Kind != TileKind.Minimum)
        {
            weights = scratch + WeightsAt;
            MakeSigned(run.Tile, (int)run.Blocks, weights);
        }

        var (tiles, rest) = Math.DivRem(run.Rows, AmxShape.RowsMax);
        for (var tile = 0L; tile < tiles; tile += TilesAtOnce)
        {
            var count = (int)Math.Min(TilesAtOnce, tiles - tile);
            Tiles(From(run, tile * AmxShape.RowsMax), AmxShape.RowsMax, count, weights, scratch);
        }

        if (rest > 0)
        {
            Tiles(From(run, tiles * AmxShape.RowsMax), (int)rest, 1, weights, scratch);
        }
    }

    private Int8Run From(in Int8Run run, long row) => run.From(row, format.Kind == TileKind.Halves ? 2 : 1);

    private void Tiles(in Int8Run run, int rows, int tiles, byte* weights, byte* scratch)
    {
        var shape = AmxShape.Of(format.Kind, rows);
        TileConfiguration.Write(new Span<byte>(scratch, TileConfiguration.SizeBytes), rows, shape.Depth);
        var rowScales = (float*)(scratch + RowScalesAt);
        var tileScales = (int)run.Blocks * shape.RowScaleBytes;
        for (var tile = 0; tile < tiles; tile++)
        {
            TurnScales(
                From(run, (long)tile * rows), rows, shape, rowScales + (tile * tileScales / sizeof(float)));
        }

        for (var half = 0; half < 2; half++)
        {
            var scales = run.Tile + WeightTile.ScalesAt + (half * AmxShape.LaneBytes);
            var arguments = new AmxArguments
            {
                Configuration = scratch,
                Inputs = run.X,
                InputStride = run.XStride,
                Weights = (sbyte*)weights + (half * WeightTile.HalfBytes),
                Scales = (float*)scales,
                Mins = (float*)(scales + (WeightTile.SecondAt - WeightTile.ScalesAt)),
                RowScales = rowScales,
                RowScalesStride = tileScales,
                Steps = run.Blocks * (AmxShape.BlockValues / shape.Depth),
                RowTiles = tiles,
                Accumulate = run.Accumulate,
                Results = run.Y + (half * AmxShape.Lanes),
                ResultStride = run.YStride,
                Sums = (int*)(scratch + SumsAt),
            };
            routine(rows, &arguments);
        }
    }

    /// <summary>The scales of rows, and their scaled sums where there are minima, block by block.</summary>
    private static void TurnScales(in Int8Run run, int rows, in AmxShape shape, float* target)
    {
        var stride = run.BlockStride / sizeof(float);
        var targetStride = shape.RowScaleBytes / sizeof(float);
        for (var row = 0; row < rows; row += Transposition.Rows)
        {
            var count = Math.Min(Transposition.Rows, rows - row);
            Transposition.Turn(
                run.Scales + (row * stride), stride, count, (int)run.Blocks, target + row, targetStride);
            if (shape.HasMins)
            {
                Transposition.Turn(
                    run.ScaledSums + (row * stride), stride, count, (int)run.Blocks, target + AmxShape.Lanes + row,
                    targetStride);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void MakeSigned(byte* tile, int blocks, byte* target)
    {
        var zero = Vector512.Create((byte)(1 << format.ZeroShift));
        for (var block = 0; block < blocks; block++)
        {
            for (var at = 0; at < AmxShape.SignedBlockBytes; at += Vector512<byte>.Count)
            {
                (Vector512.Load(tile + at) - zero).Store(target + at);
            }

            tile += format.BlockBytes;
            target += AmxShape.SignedBlockBytes;
        }
    }
}
