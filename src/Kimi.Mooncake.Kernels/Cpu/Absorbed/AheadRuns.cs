using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>The next tile's rows, block after block, cut by the steps of what is computed meanwhile.</summary>
internal unsafe ref struct AheadRuns(in LatentTile tile, long steps)
{
    private const int LineBytes = 64;
    private readonly long _bytes = tile.NextCount * tile.RowBytes;
    private long _done;

    /// <summary>
    /// Where the next part begins, and what a step goes on by; what it does not reach is fetched now.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal byte* Next(in LatentTile tile, long partSteps, out long stepBytes)
    {
        stepBytes = 0;
        var (at, end) = (_bytes * _done / steps, _bytes * (_done + partSteps) / steps);
        _done += partSteps;
        if (at >= end)
        {
            return tile.Queries;
        }

        var blockBytes = tile.Kv.Layout.BlockTokens * tile.RowBytes;
        var inBlock = Math.Min(end, ((at / blockBytes) + 1) * blockBytes);
        for (var rest = inBlock; rest < end && Sse.IsSupported; rest += LineBytes)
        {
            Sse.Prefetch1(Place(tile, rest));
        }

        stepBytes = Math.Min(((inBlock - at) / partSteps) + 1, LineBytes);
        return Place(tile, at);
    }

    private static byte* Place(in LatentTile tile, long at)
    {
        var (key, offset) = Math.DivRem(at, tile.RowBytes);
        return KeyTiles.Row(tile, tile.NextTable, tile.NextStart + (int)key) + offset;
    }
}
