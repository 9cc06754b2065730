using System.Runtime.Intrinsics;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>A tile of a row's context for some groups of eight heads, whose state it advances.</summary>
internal unsafe ref struct LatentTile
{
    internal PagedKvMemory Kv;
    internal int Layer;
    internal int* Table;

    /// <summary>First position, a multiple of the tile's size.</summary>
    internal int Start;

    /// <summary>Where the range ends that the tile belongs to.</summary>
    internal int RangeEnd;

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
    private const int Lanes = MicroKernels.Lanes;

    // Room for three scores too many, and off each other's cache sets.
    private const int ScoreStride = TileKeys + 32;
    private const int ScoreValues = Group * ScoreStride;
    private const int WeightValues = Group * LatentKernels.WeightStride / 2;
    private const int RescaleValues = 16;

    // A tile has as many runs as it has blocks, and one for its last row if that has no partner.
    private const int RunsMax = (TileKeys / KvLayout.BlockTokensMin) + 1;
    private const float WeightMin = 9.094947e-13f;

    /// <summary>The products.</summary>
    internal LatentKernels Kernels => kernels;

    /// <summary>Values of working memory that a tile needs.</summary>
    internal static long ScratchValues(int queryStride) =>
        ScoreValues + WeightValues + RescaleValues + ((long)TileKeys * queryStride / 2);

    internal static int Padded(int values) =>
        checked((values + LatentKernels.StepValues - 1) / LatentKernels.StepValues * LatentKernels.StepValues);

    /// <summary>Advances the state of all heads by a tile.</summary>
    internal void Attend(in LatentTile tile)
    {
        var count = Math.Min(TileKeys, tile.RangeEnd - tile.Start);
        var runs = stackalloc LatentRun[RunsMax];
        var rows = stackalloc int[RunsMax];
        var decoded = (ushort*)(tile.Scratch + ScoreValues + WeightValues + RescaleValues);
        var isInPlace = IsInPlace(tile);
        var stride = isInPlace ? tile.Kv.Layout.BytesPerTokenAndLayer : (long)tile.QueryStride * sizeof(ushort);
        var runCount = isInPlace ? CutBlocks(tile, count, runs, rows) : Decode(tile, count, decoded, runs, rows);
        var exponent = LatentChains.ExponentMax;
        for (var run = 0; run < runCount; run++)
        {
            exponent = Math.Min(exponent, kernels.Exponent(runs[run].First, stride, rows[run], tile.QueryStride));
        }

        var sumRuns = Pair(runs, rows, runCount, stride);
        for (var group = 0; group < tile.Groups; group++)
        {
            Score(tile, group, runs, rows, runCount, stride, exponent);
            Weigh(tile, group, count);
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
            for (var run = 0; run < sumRuns; run++)
            {
                runs[run].AheadBytes = 0;
            }
        }
    }

    private static bool IsInPlace(in LatentTile tile) => tile.Kv.Layout.ElementType == KvElementType.BF16
        && tile.Kv.Layout.ValuesPerTokenAndLayer == tile.QueryStride;

    private static byte* Row(in LatentTile tile, int position)
    {
        var (block, token) = Math.DivRem(position, tile.Kv.Layout.BlockTokens);
        return tile.Kv.RowPointer(tile.Table[block], tile.Layer, token);
    }

    /// <summary>Rows in place: a run for each block, which knows where the next tile's rows are.</summary>
    private static int CutBlocks(in LatentTile tile, int count, LatentRun* runs, int* rows)
    {
        var (block, run) = (Math.Min(tile.Kv.Layout.BlockTokens, TileKeys), 0);
        for (var key = 0; key < count; key += block)
        {
            rows[run] = Math.Min(block, count - key);
            runs[run] = new LatentRun { First = Row(tile, tile.Start + key) };
            var next = tile.Start + key + TileKeys;
            if (next < tile.RangeEnd)
            {
                runs[run].AheadBytes = Row(tile, next) - runs[run].First;
            }

            run++;
        }

        return run;
    }

    /// <summary>Rows made bfloat16, one run of them.</summary>
    private static int Decode(in LatentTile tile, int count, ushort* decoded, LatentRun* runs, int* rows)
    {
        var values = tile.Kv.Layout.ValuesPerTokenAndLayer;
        for (var key = 0; key < count; key++)
        {
            var target = decoded + ((long)key * tile.QueryStride);
            KvRows.ToBf16(tile.Kv.Layout, Row(tile, tile.Start + key), target);
            new Span<ushort>(target + values, tile.QueryStride - values).Clear();
        }

        rows[0] = count;
        runs[0] = new LatentRun { First = (byte*)decoded };
        return 1;
    }

    /// <summary>Counts the pairs of runs; a last row without a partner becomes a run, paired with itself.</summary>
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

        var single = new LatentRun { First = runs[last].First + ((rows[last] - 1) * stride), Pairs = 1 };
        if (runs[last].Pairs == 0)
        {
            runs[last] = single;
            return runCount;
        }

        runs[runCount] = single;
        return runCount + 1;
    }

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
                },
                rows[run], queryExponent, exponent);
            scores += rows[run];
        }
    }

    /// <summary>Scores to rounded weights, and the factors of the sums before.</summary>
    private void Weigh(in LatentTile tile, int group, int count)
    {
        var weights = (ushort*)(tile.Scratch + ScoreValues);
        var rescale = tile.Scratch + ScoreValues + WeightValues;
        var width = Padded(count);
        for (var i = 0; i < Group; i++)
        {
            var head = (group * Group) + i;
            var scores = tile.Scratch + (i * ScoreStride);
            var before = tile.Maxima[head];
            OnlineSoftmax.Advance(
                scores, count, width, tile.Scale, tile.Maxima + head, tile.WeightSums + head, null, 0);
            rescale[i] = VectorMath.Exp2(Vector512.Create(before - tile.Maxima[head])).ToScalar();
            for (var key = 0; key < width; key += Lanes)
            {
                var weight = Vector512.Load(scores + key);
                Vector512.ConditionalSelect(
                    Vector512.LessThan(weight, Vector512.Create(WeightMin)), Vector512<float>.Zero, weight)
                    .Store(scores + key);
            }

            ActivationRows.EncodeBf16(scores, width, weights + (i * LatentKernels.WeightStride), width);
        }
    }
}
