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

    /// <summary>Rows of bfloat16, zeros behind the values.</summary>
    internal ushort* Queries;
    internal int QueryStride;

    /// <summary>Values of the latent.</summary>
    internal int Latents;
    internal int Groups;

    /// <summary>Factor of the scores times the base-2 logarithm of e.</summary>
    internal float Scale;
    internal float* Sums;
    internal int SumStride;
    internal float* Maxima;
    internal float* WeightSums;
    internal float* Scratch;
}

/// <summary>One tile of keys after another: scores, softmax, weighted sums of latents.</summary>
internal sealed unsafe class LatentTiles(LatentKernels kernels)
{
    private const int TileKeys = LatentKernels.TileKeys;
    private const int Group = LatentKernels.Heads;

    // Room for three scores too many, and off each other's cache sets.
    private const int ScoreStride = TileKeys + 32;
    private const int ScoreValues = Group * ScoreStride;
    private const int WeightValues = Group * LatentKernels.WeightStride / 2;
    private const int RescaleValues = 16;

    // A tile has as many runs as it has blocks, and one for its last row if that has no partner.
    private const int RunsMax = (TileKeys / KvLayout.BlockTokensMin) + 1;
    private const int LineBytes = 64;

    /// <summary>The products.</summary>
    internal LatentKernels Kernels => kernels;

    /// <summary>Values of working memory that a tile needs.</summary>
    internal static long ScratchValues(int queryStride) =>
        ScoreValues + WeightValues + RescaleValues + ((long)TileKeys * queryStride / 2);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static int Padded(int values) =>
        checked((values + LatentKernels.StepValues - 1) / LatentKernels.StepValues * LatentKernels.StepValues);

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

    /// <summary>Advances the state of all heads by a tile.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal void Attend(in LatentTile tile)
    {
        var runs = stackalloc LatentRun[RunsMax];
        var rows = stackalloc int[RunsMax];
        var decoded = IsInPlace(tile)
            ? null
            : (ushort*)(tile.Scratch + ScoreValues + WeightValues + RescaleValues);
        var stride = decoded == null ? tile.RowBytes : (long)tile.QueryStride * sizeof(ushort);
        var runCount = CutBlocks(tile, decoded, runs, rows);
        var exponent = LatentChains.ExponentMax;
        for (var run = 0; run < runCount; run++)
        {
            exponent = Math.Min(exponent, kernels.Exponent(runs[run].First, stride, rows[run], tile.QueryStride));
        }

        var sumRuns = Pair(runs, rows, runCount, stride);
        for (var group = 0; group < tile.Groups; group++)
        {
            Score(tile, group, runs, rows, runCount, stride, exponent);
            Weigh(tile, group);
            kernels.Sum(
                new LatentSums
                {
                    Runs = runs,
                    RunCount = sumRuns,
                    Weights = (ushort*)(tile.Scratch + ScoreValues),
                    Sums = tile.Sums + ((long)group * Group * tile.SumStride),
                    SumStrideBytes = tile.SumStride * sizeof(float),
                    Rescale = tile.Scratch + ScoreValues + WeightValues,
                    Blocks = tile.SumStride / LatentKernels.StepValues,
                    PairStrideBytes = 2 * stride,
                },
                exponent);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsInPlace(in LatentTile tile) => tile.Kv.Layout.ElementType == KvElementType.BF16
        && tile.Kv.Layout.ValuesPerTokenAndLayer == tile.QueryStride;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte* Row(in LatentTile tile, int* table, int position)
    {
        var (block, token) = Math.DivRem(position, tile.Kv.Layout.BlockTokens);
        return tile.Kv.RowPointer(table[block], tile.Layer, token);
    }

    /// <summary>A run for each block: in place, or made bfloat16. Each brings as much of the next tile near.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int CutBlocks(in LatentTile tile, ushort* decoded, LatentRun* runs, int* rows)
    {
        var (block, run) = (Math.Min(tile.Kv.Layout.BlockTokens, TileKeys), 0);
        for (var key = 0; key < tile.Count; key += block)
        {
            rows[run] = Math.Min(block, tile.Count - key);
            var first = Row(tile, tile.Table, tile.Start + key);
            if (decoded != null)
            {
                first = Decode(tile, first, rows[run], decoded + ((long)key * tile.QueryStride));
            }

            runs[run] = new LatentRun { First = first, Ahead = first };
            if (key < tile.NextCount)
            {
                var bytes = Math.Min(block, tile.NextCount - key) * tile.RowBytes;
                runs[run].Ahead = Row(tile, tile.NextTable, tile.NextStart + key);
                runs[run].AheadStepBytes = Math.Min((bytes / Steps(tile, rows[run])) + 1, LineBytes);
            }

            run++;
        }

        return run;
    }

    /// <summary>Steps of both products over rows of a run, for all groups.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static long Steps(in LatentTile tile, int rows) => tile.Groups
        * (LatentKernels.ScoreSteps(rows, tile.QueryStride / LatentKernels.StepValues)
            + ((rows + 1) / 2 * (tile.SumStride / LatentKernels.StepValues)));

    /// <summary>Rows of a block made bfloat16.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static byte* Decode(in LatentTile tile, byte* stored, int count, ushort* decoded)
    {
        var values = tile.Kv.Layout.ValuesPerTokenAndLayer;
        for (var key = 0; key < count; key++)
        {
            var target = decoded + ((long)key * tile.QueryStride);
            KvRows.ToBf16(tile.Kv.Layout, stored + (key * tile.RowBytes), target);
            new Span<ushort>(target + values, tile.QueryStride - values).Clear();
        }

        return (byte*)decoded;
    }

    /// <summary>Counts the pairs of runs; a last row without a partner becomes a run, paired with itself.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int Pair(LatentRun* runs, int* rows, int runCount, long stride)
    {
        for (var run = 0; run < runCount; run++)
        {
            (runs[run].Pairs, runs[run].SecondOffsetBytes) = (rows[run] / 2, stride);
        }

        var last = runCount - 1;
        if (rows[last] % 2 == 0)
        {
            return runCount;
        }

        var row = runs[last].First + ((rows[last] - 1) * stride);
        var single = new LatentRun { First = row, Pairs = 1, Ahead = row };
        if (runs[last].Pairs == 0)
        {
            runs[last] = single;
            return runCount;
        }

        runs[runCount] = single;
        return runCount + 1;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Score(
        in LatentTile tile, int group, LatentRun* runs, int* rows, int runCount, long stride, int exponent)
    {
        var queries = tile.Queries + ((long)group * Group * tile.QueryStride);
        var queryStride = (long)tile.QueryStride * sizeof(ushort);
        var queryExponent = kernels.Exponent((byte*)queries, queryStride, Group, tile.QueryStride);
        var scores = tile.Scratch;
        for (var run = 0; run < runCount; run++)
        {
            kernels.Score(
                new LatentScores
                {
                    Queries = queries,
                    QueryStrideBytes = queryStride,
                    Keys = runs[run].First,
                    KeyStrideBytes = stride,
                    Steps = tile.QueryStride / LatentKernels.StepValues,
                    Scores = scores,
                    ScoreStrideBytes = ScoreStride * sizeof(float),
                    Ahead = runs[run].Ahead,
                    AheadStepBytes = runs[run].AheadStepBytes,
                },
                rows[run], queryExponent, exponent);
            scores += rows[run];
            runs[run].Ahead += LatentKernels.ScoreSteps(rows[run], tile.QueryStride / LatentKernels.StepValues)
                * runs[run].AheadStepBytes;
        }
    }

    /// <summary>Scores to rounded weights, and the factors of the sums before.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Weigh(in LatentTile tile, int group)
    {
        var width = Padded(tile.Count);
        for (var head = 0; head < Group && width > tile.Count; head++)
        {
            new Span<float>(tile.Scratch + (head * ScoreStride) + tile.Count, width - tile.Count)
                .Fill(float.NegativeInfinity);
        }

        kernels.Weigh(new LatentWeights
        {
            Scores = tile.Scratch,
            ScoreStrideBytes = ScoreStride * sizeof(float),
            WeightBytes = width * sizeof(ushort),
            Weights = (ushort*)(tile.Scratch + ScoreValues),
            Maxima = tile.Maxima + (group * Group),
            Sums = tile.WeightSums + (group * Group),
            Rescale = tile.Scratch + ScoreValues + WeightValues,
            Scale = tile.Scale,
        });
    }
}
