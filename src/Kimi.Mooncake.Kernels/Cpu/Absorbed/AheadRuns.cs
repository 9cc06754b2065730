using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>The next tile's rows, block after block, cut by the steps of what is computed meanwhile.</summary>
/// <param name="tile">Whose next tile is meant.</param>
/// <param name="steps">Steps of all that is computed.</param>
internal unsafe ref struct AheadRuns(in LatentTile tile, long steps)
{
    private const int LineBytes = 64;
    private readonly long _bytes = tile.NextCount * tile.RowBytes;
    private readonly double _bytesPerStep = (double)tile.NextCount * tile.RowBytes / steps;
    private readonly int _blockKeys = Math.Min(tile.Kv.Layout.BlockTokens, KeyTiles.TileKeys);
    private long _done;

    /// <summary>
    /// Where the next part begins, and what a step goes on by; what it does not reach is fetched now.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal byte* Next(in LatentTile tile, long partSteps, out long stepBytes)
    {
        stepBytes = 0;
        var at = (long)(_bytesPerStep * _done);
        _done += partSteps;
        var end = Math.Min((long)(_bytesPerStep * _done) + 1, _bytes);
        if (at >= end)
        {
            return tile.Queries;
        }

        var blockBytes = _blockKeys * tile.RowBytes;
        var block = (int)((uint)at / (uint)blockBytes);
        var inBlock = Math.Min(end, (block + 1) * blockBytes);
        if (inBlock < end && Sse.IsSupported)
        {
            var rest = Block(tile, block + 1);
            for (var offset = 0L; offset < end - inBlock; offset += LineBytes)
            {
                Sse.Prefetch1(rest + offset);
            }
        }

        stepBytes = Math.Min(((uint)(inBlock - at) / (uint)partSteps) + 1, LineBytes);
        return Block(tile, block) + (at - (block * blockBytes));
    }

    /// <summary>The first row of a block's part of the tile.</summary>
    private readonly byte* Block(in LatentTile tile, int block) =>
        KeyTiles.Row(tile, tile.NextTable, tile.NextStart + (block * _blockKeys));
}
