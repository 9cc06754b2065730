using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>
/// Tiles of cached bytes (<see cref="KvElementType.Q8"/>): turned once for all heads, multiplied as bytes.
/// </summary>
internal sealed unsafe class ByteTiles(ByteKernels kernels) : KeyTiles
{
    private const int LineValues = LineBytes / sizeof(float);

    internal override long QueryGroupBytes(KvLayout layout) => new ByteTileShape(layout).QueryBytes;

    internal override int SumStride(KvLayout layout) => new ByteTileShape(layout).SumValues;

    internal override long ScratchValues(KvLayout layout, int groups) =>
        (new BytePlaces(new ByteTileShape(layout), groups, null).End - (byte*)null) / sizeof(float);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal override void EncodeQuery(KvLayout layout, float* latent, float* rope, byte* group, int head)
    {
        var shape = new ByteTileShape(layout);
        var scales = (float*)(group + shape.QueryScalesAt) + head;
        var starts = (int*)(group + shape.QueryStartsAt) + head;
        var words = (uint*)(group + shape.QueryLatentsAt) + head;
        var bytes = stackalloc sbyte[ByteTileShape.GroupValues];
        for (var i = 0; i < shape.Groups; i++)
        {
            var first = i * ByteTileShape.GroupValues;
            var count = Math.Min(ByteTileShape.GroupValues, layout.LatentRank - first);
            new Span<sbyte>(bytes + count, ByteTileShape.GroupValues - count).Clear();
            scales[i * Heads] = KvRows.EncodeGroup(latent + first, count, bytes);
            var (low, high) = Vector512.Widen(Vector512.Load(bytes));
            starts[i * Heads] = Vector512.Sum(low + high) * sbyte.MinValue;
            for (var word = 0; word < ByteTileShape.GroupWords; word++)
            {
                words[word * Heads] = ((uint*)bytes)[word];
            }

            words += ByteTileShape.GroupWords * Heads;
        }

        var rounded = stackalloc uint[shape.RopePairs];
        ActivationRows.EncodeBf16(rope, layout.RopeDimension, (ushort*)rounded, 2 * shape.RopePairs);
        for (var pair = 0; pair < shape.RopePairs; pair++)
        {
            ((uint*)group)[(pair * Heads) + head] = rounded[pair];
        }
    }

    internal override void ClearQuery(KvLayout layout, byte* group, int head)
    {
        for (var word = 0; word < new ByteTileShape(layout).QueryBytes / sizeof(uint); word += Heads)
        {
            ((uint*)group)[word + head] = 0;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal override void Attend(in LatentTile tile)
    {
        var shape = new ByteTileShape(tile.Kv.Layout);
        var places = new BytePlaces(shape, tile.Groups, (byte*)tile.Scratch);
        var pairs = (tile.Count + ByteTileShape.PairKeys - 1) / ByteTileShape.PairKeys;
        PlaceRows(tile, shape, places, pairs * ByteTileShape.PairKeys);
        var ahead = new AheadRuns(tile, 2L * tile.Groups * pairs * shape.Groups * ByteTileShape.GroupWords);
        for (var pair = 0; pair < pairs; pair++)
        {
            Score(tile, shape, places, pair * ByteTileShape.PairKeys, ref ahead);
        }

        var lowRows = Weigh(tile, shape, places);
        for (var group = 0; group < shape.Groups; group++)
        {
            Sum(tile, shape, places, group, lowRows, ref ahead);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal override void CopyOrdered(float* sums, float* target, int count)
    {
        const int Quarter = 4;
        const int Lanes = 16;
        for (var group = 0; group < count; group += ByteTileShape.GroupValues)
        {
            for (var i = 0; i < Lanes; i++)
            {
                var (vector, quarter) = (i / Quarter, i % Quarter);
                Vector128.Load(sums + group + (vector * Lanes) + (quarter * Quarter))
                    .Store(target + group + (quarter * Lanes) + (vector * Quarter));
            }
        }
    }

    /// <summary>
    /// Where each 16 rows are: in the pool, or copies where rows cannot be turned as they lie or are not there.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PlaceRows(in LatentTile tile, in ByteTileShape shape, in BytePlaces places, int keys)
    {
        for (var key = 0; key < keys; key += ByteTurning.Keys)
        {
            // Blocks have 16 tokens or a multiple.
            var run = places.Runs + (key / ByteTurning.Keys);
            if (shape.IsInPlace && key + ByteTurning.Keys <= tile.Count)
            {
                run->First = Row(tile, tile.Table, tile.Start + key);
                run->Stride = tile.RowBytes;
                continue;
            }

            run->First = places.Staged + ((long)key * shape.StagedRowBytes);
            run->Stride = shape.StagedRowBytes;
            for (var row = key; row < key + ByteTurning.Keys; row++)
            {
                var target = places.Staged + ((long)row * shape.StagedRowBytes);
                new Span<byte>(target, shape.StagedRowBytes).Clear();
                if (row < tile.Count)
                {
                    ByteTurning.Stage(tile.Kv.Layout, shape, Row(tile, tile.Table, tile.Start + row), target);
                }
            }
        }
    }

    /// <summary>All heads' scores of 32 keys.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Score(
        in LatentTile tile, in ByteTileShape shape, in BytePlaces places, int key, ref AheadRuns ahead)
    {
        for (var half = 0; half < 2; half++)
        {
            var run = places.Runs + (key / ByteTurning.Keys) + half;
            ByteTurning.TurnKeys(shape, run->First, run->Stride, places.Turned + (half * LineBytes));
        }

        for (var group = 0; group < shape.Groups; group++)
        {
            var scales = (float*)(places.Turned + (group * ByteTileShape.StepBytes));
            var target = places.KeyScales + (group * TileKeys) + key;
            Vector512.Load(scales).Store(target);
            Vector512.Load(scales + LineValues).Store(target + LineValues);
        }

        var queries = tile.Queries;
        var call = new ByteScores
        {
            Ropes = (uint*)queries,
            Latents = (uint*)(queries + shape.QueryLatentsAt),
            QueryScales = (float*)(queries + shape.QueryScalesAt),
            Starts = (int*)(queries + shape.QueryStartsAt),
            HeadGroups = tile.Groups,
            QueryBytes = shape.QueryBytes,
            KeyRopes = places.Turned + shape.RopeAt,
            KeyLatents = places.Turned + shape.LatentsAt,
            KeyScales = places.Turned,
            RopePairs = shape.RopePairs,
            Groups = shape.Groups,
            Scores = places.Scores + key,
        };
        call.Ahead = ahead.Next(
            tile, tile.Groups * shape.Groups * ByteTileShape.GroupWords, out call.AheadStepBytes);
        kernels.Score(call);
    }

    /// <summary>Scores to rounded weights; how many rows of lower parts there are.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private int Weigh(in LatentTile tile, in ByteTileShape shape, in BytePlaces places)
    {
        var width = (tile.Count + ByteSoftmax.BlockKeys - 1) / ByteSoftmax.BlockKeys * ByteSoftmax.BlockKeys;
        for (var group = 0; group < shape.Groups && width > tile.Count; group++)
        {
            new Span<float>(places.KeyScales + (group * TileKeys) + tile.Count, width - tile.Count).Clear();
        }

        var spread = ByteTurning.Scales(shape.Groups, places.KeyScales, tile.Count, places.GroupScales);
        var lowRows = 0;
        for (var group = 0; group < tile.Groups; group++)
        {
            var scores = places.Scores + (group * BytePlaces.HeadGroupScores);
            for (var head = 0; head < Heads && width > tile.Count; head++)
            {
                new Span<float>(scores + (head * ByteKernels.ScoreStride) + tile.Count, width - tile.Count)
                    .Fill(float.NegativeInfinity);
            }

            for (var head = 0; head < Heads; head++)
            {
                places.Offsets[(group * Heads) + head] =
                    ((group * (long)Heads) + head) * tile.SumStride * sizeof(float);
                places.LowRescale[(group * Heads) + head] = 1;
            }

            lowRows = kernels.Weigh(new ByteWeights
            {
                Scores = scores,
                ScoreBytes = width * sizeof(float),
                Maxima = tile.Maxima + (group * Heads),
                Sums = tile.WeightSums + (group * Heads),
                KeyScales = places.KeyScales,
                GroupScales = places.GroupScales,
                Groups = shape.Groups,
                Weights = places.Weights + (group * shape.Groups * ByteRows.GroupBytes),
                Units = places.Units + (group * shape.Groups * ByteRows.Count),
                Rescale = places.Rescale + (group * Heads),
                LowWeights = places.LowWeights,
                LowUnits = places.LowUnits,
                LowOffsets = places.LowOffsets,
                LowRows = lowRows,
                SumOffset = places.Offsets[group * Heads],
                SumStrideBytes = tile.SumStride * sizeof(float),
                Scale = tile.Scale,
                Spread = spread,
            });
        }

        for (var row = lowRows; row % ByteRows.Count != 0; row++)
        {
            // Rows to make up a batch are summed where nobody looks.
            places.LowOffsets[row] = (byte*)places.Unused - (byte*)tile.Sums;
        }

        return lowRows;
    }

    /// <summary>Where a group's latents are turned to: not where those of the group before are.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte* TurnedLatents(in BytePlaces places, int group) =>
        places.Turned + (group % 2 * 2 * ByteTileShape.HalfGroupBytes);

    /// <summary>All heads' sums of 64 latents.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Sum(
        in LatentTile tile, in ByteTileShape shape, in BytePlaces places, int group, int lowRows, ref AheadRuns ahead)
    {
        var end = (tile.Count + ByteTileShape.PairKeys - 1) / ByteTileShape.PairKeys * ByteTileShape.PairKeys;
        if (group == 0)
        {
            ByteTurning.TurnLatents(places.Runs, end, shape.HeaderBytes, places.Turned);
        }

        var quads = end / ByteTileShape.QuadKeys;
        var call = new ByteSums
        {
            Latents = TurnedLatents(places, group),
            Weights = places.Weights + (group * ByteRows.GroupBytes),
            Units = places.Units + (group * ByteRows.Count),
            Rescale = places.Rescale,
            Offsets = places.Offsets,
            Sums = (byte*)(tile.Sums + (group * ByteTileShape.GroupValues)),
            Batches = tile.Groups,
            BatchBytes = shape.Groups * ByteRows.GroupBytes,
            Quads = quads,
        };
        call.Ahead = ahead.Next(tile, 2 * tile.Groups * quads, out call.AheadStepBytes);
        if (group + 1 < shape.Groups)
        {
            call.NextRuns = places.Runs;
            call.NextOffset = shape.HeaderBytes + ((group + 1) * ByteTileShape.GroupValues);
            call.NextLatents = TurnedLatents(places, group + 1);
        }

        kernels.Sum(call, ByteRows.Count);
        if (lowRows == 0)
        {
            return;
        }

        call.NextRuns = null;
        call.Ahead = places.Turned;
        call.AheadStepBytes = 0;
        call.Weights = places.LowWeights + (group * ByteRows.GroupBytes);
        call.Units = places.LowUnits + (group * ByteRows.Count);
        call.Rescale = places.LowRescale;
        call.Offsets = places.LowOffsets;
        var (batches, rest) = Math.DivRem(lowRows, ByteRows.Count);
        call.Batches = rest > ByteRows.Few ? batches + 1 : batches;
        if (call.Batches > 0)
        {
            kernels.Sum(call, ByteRows.Count);
        }

        if (rest is > 0 and <= ByteRows.Few)
        {
            call.Weights += batches * call.BatchBytes;
            call.Units += batches * shape.Groups * ByteRows.Count;
            call.Rescale += batches * ByteRows.Count;
            call.Offsets += batches * ByteRows.Count;
            call.Batches = 1;
            kernels.Sum(call, ByteRows.Few);
        }
    }
}
