using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>A tile of a row's context for some groups of eight heads, whose state it advances.</summary>
internal unsafe ref struct LatentTile
{
    internal PagedKvMemory Kv;
    internal int Layer;
    internal int* Table;

    /// <summary>Bytes of a cached row.</summary>
    internal long RowBytes;

    /// <summary>First position, a multiple of the tile's size.</summary>
    internal int Start;

    /// <summary>Keys, at most a tile's.</summary>
    internal int Count;

    /// <summary>Block table and first position of the tile that this thread will probably work on next.</summary>
    internal int* NextTable;
    internal int NextStart;

    /// <summary>Its keys; 0 if there is none.</summary>
    internal int NextCount;

    /// <summary>Encoded queries, group after group of heads.</summary>
    internal byte* Queries;
    internal int Groups;

    /// <summary>Factor of the scores times the base-2 logarithm of e.</summary>
    internal float Scale;
    internal float* Sums;
    internal int SumStride;
    internal float* Maxima;
    internal float* WeightSums;
    internal float* Scratch;
}

/// <summary>
/// One tile of keys after another: scores, softmax, weighted sums of latents. What queries are rounded to, and how
/// cached rows are read, is the form's.
/// </summary>
internal abstract unsafe class KeyTiles
{
    /// <summary>Heads that are computed at once.</summary>
    internal const int Heads = LatentKernels.Heads;

    /// <summary>Most keys of a tile.</summary>
    internal const int TileKeys = LatentKernels.TileKeys;

    /// <summary>Bytes that memory is fetched by.</summary>
    protected const int LineBytes = 64;

    /// <summary>Bytes that the encoded queries of a group of heads take, a multiple of a line's.</summary>
    internal abstract long QueryGroupBytes(KvLayout layout);

    /// <summary>Values from the summed latent of a head to that of the next.</summary>
    internal abstract int SumStride(KvLayout layout);

    /// <summary>Values of working memory that a tile needs for some groups of heads.</summary>
    internal abstract long ScratchValues(KvLayout layout, int groups);

    /// <summary>Rounds a query: the part in the latent space, and the rotated one.</summary>
    /// <param name="layout">Of the cached rows.</param>
    /// <param name="latent">Values of the former.</param>
    /// <param name="rope">Values of the latter.</param>
    /// <param name="group">Where the queries of its group are.</param>
    /// <param name="head">Which of the group's heads this is.</param>
    internal abstract void EncodeQuery(KvLayout layout, float* latent, float* rope, byte* group, int head);

    /// <summary>The same for a head that is not there: zeros.</summary>
    internal abstract void ClearQuery(KvLayout layout, byte* group, int head);

    /// <summary>Advances the state of all heads by a tile.</summary>
    internal abstract void Attend(in LatentTile tile);

    /// <summary>Copies the sums of a head, a stride of them, so that they lie as the latent does.</summary>
    internal abstract void CopyOrdered(float* sums, float* target, int count);

    /// <summary>Brings a share of a tile that is not decoded near: rows of each block.</summary>
    /// <param name="tile">Whose next tile is meant.</param>
    /// <param name="share">Which share.</param>
    /// <param name="shares">How many.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void BringNear(in LatentTile tile, int share, int shares)
    {
        var (first, end) = (tile.NextCount * share / shares, tile.NextCount * (share + 1) / shares);
        for (var key = first; key < end && Sse.IsSupported; key++)
        {
            var row = Row(tile, tile.NextTable, tile.NextStart + key);
            for (var offset = 0L; offset < tile.RowBytes; offset += LineBytes)
            {
                Sse.Prefetch1(row + offset);
            }
        }
    }

    /// <summary>The cached row of a position.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static byte* Row(in LatentTile tile, int* table, int position)
    {
        var (block, token) = Math.DivRem(position, tile.Kv.Layout.BlockTokens);
        return tile.Kv.RowPointer(table[block], tile.Layer, token);
    }
}
