using System.Runtime.CompilerServices;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>Tiles in bfloat16: cached rows are read where they lie if the pool holds it.</summary>
internal sealed unsafe class LatentTiles(LatentKernels kernels) : KeyTiles
{
    private const int Group = Heads;

    // Room for three scores too many, and off each other's cache sets.
    private const int ScoreStride = TileKeys + 32;
    private const int ScoreValues = Group * ScoreStride;
    private const int WeightValues = Group * LatentKernels.WeightStride / 2;
    private const int RescaleValues = 16;

    // A tile has as many runs as it has blocks, and one for its last row if that has no partner.
    private const int RunsMax = (TileKeys / KvLayout.BlockTokensMin) + 1;

    internal override long QueryGroupBytes(KvLayout layout) => (long)Group * Stride(layout) * sizeof(ushort);

    internal override int SumStride(KvLayout layout) => Padded(layout.LatentRank);

    internal override long ScratchValues(KvLayout layout, int groups) =>
        ScoreValues + WeightValues + RescaleValues + ((long)TileKeys * Stride(layout) / 2);

    internal override void EncodeQuery(KvLayout layout, float* latent, float* rope, byte* group, int head)
    {
        var (stride, latents) = (Stride(layout), layout.LatentRank);
        var target = (ushort*)group + ((long)head * stride);
        ActivationRows.EncodeBf16(latent, latents, target, latents);
        ActivationRows.EncodeBf16(rope, layout.RopeDimension, target + latents, stride - latents);
    }

    internal override void ClearQuery(KvLayout layout, byte* group, int head) =>
        new Span<ushort>((ushort*)group + ((long)head * Stride(layout)), Stride(layout)).Clear();

    internal override void CopyOrdered(float* sums, float* target, int count) =>
        kernels.CopyOrdered(sums, target, count);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal override void Attend(in LatentTile tile)
    {
        var runs = stackalloc LatentRun[RunsMax];
        var rows = stackalloc int[RunsMax];
        var decoded = IsInPlace(tile)
            ? null
            : (ushort*)(tile.Scratch + ScoreValues + WeightValues + RescaleValues);
        var stride = decoded == null ? tile.RowBytes : (long)Stride(tile.Kv.Layout) * sizeof(ushort);
        var runCount = CutBlocks(tile, decoded, runs, rows);
        var exponent = LatentChains.ExponentMax;
        for (var run = 0; run < runCount; run++)
        {
            exponent = Math.Min(exponent, kernels.Exponent(runs[run].First, stride, rows[run], Stride(tile.Kv.Layout)));
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
    private static int Padded(int values) =>
        checked((values + LatentKernels.StepValues - 1) / LatentKernels.StepValues * LatentKernels.StepValues);

    /// <summary>Values of a query, and of a decoded row: zeros behind the last.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Stride(KvLayout layout) => Padded(layout.ValuesPerTokenAndLayer);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsInPlace(in LatentTile tile) => tile.Kv.Layout.ElementType == KvElementType.BF16
        && tile.Kv.Layout.ValuesPerTokenAndLayer == Stride(tile.Kv.Layout);

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
                first = Decode(tile, first, rows[run], decoded + ((long)key * Stride(tile.Kv.Layout)));
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
        * (LatentKernels.ScoreSteps(rows, Stride(tile.Kv.Layout) / LatentKernels.StepValues)
            + ((rows + 1) / 2 * (tile.SumStride / LatentKernels.StepValues)));

    /// <summary>Rows of a block made bfloat16.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static byte* Decode(in LatentTile tile, byte* stored, int count, ushort* decoded)
    {
        var values = tile.Kv.Layout.ValuesPerTokenAndLayer;
        for (var key = 0; key < count; key++)
        {
            var target = decoded + ((long)key * Stride(tile.Kv.Layout));
            KvRows.ToBf16(tile.Kv.Layout, stored + (key * tile.RowBytes), target);
            new Span<ushort>(target + values, Stride(tile.Kv.Layout) - values).Clear();
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
        var queries = (ushort*)tile.Queries + ((long)group * Group * Stride(tile.Kv.Layout));
        var queryStride = (long)Stride(tile.Kv.Layout) * sizeof(ushort);
        var queryExponent = kernels.Exponent((byte*)queries, queryStride, Group, Stride(tile.Kv.Layout));
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
                    Steps = Stride(tile.Kv.Layout) / LatentKernels.StepValues,
                    Scores = scores,
                    ScoreStrideBytes = ScoreStride * sizeof(float),
                    Ahead = runs[run].Ahead,
                    AheadStepBytes = runs[run].AheadStepBytes,
                },
                rows[run], queryExponent, exponent);
            scores += rows[run];
            runs[run].Ahead += LatentKernels.ScoreSteps(rows[run], Stride(tile.Kv.Layout) / LatentKernels.StepValues)
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
