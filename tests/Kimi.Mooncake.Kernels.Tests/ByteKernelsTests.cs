using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Cpu.Absorbed;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>
/// The products of absorbed attention over cached bytes, and the softmax between, give the bits of their definition on
/// every path.
/// </summary>
internal sealed unsafe class ByteKernelsTests
{
    private const int Heads = KeyTiles.Heads;
    private const int GroupValues = ByteTileShape.GroupValues;

    private static readonly InstructionPath[] Paths =
        [.. Enum.GetValues<InstructionPath>().Where(InstructionPaths.IsSupported)];

    [Test]
    public void Score_RandomRows_HasTheBitsOfTheDefinition(
        [ValueSource(nameof(Paths))] InstructionPath path, [Values(64, 192)] int latents, [Values(2, 32)] int rope,
        [Values(1, 2)] int headGroups)
    {
        // Arrange: rows as a pool has them, and queries as attention encodes them.
        using var tensors = new TestTensors(latents + rope);
        var layout = new KvLayout(KvElementType.Q8, 1, latents, rope, 32);
        var (shape, tiles) = (new ByteTileShape(layout), new ByteTiles(new ByteKernels(path)));
        var rows = Rows(tensors, layout, ByteTileShape.PairKeys);
        var queries = Rows(tensors, layout, headGroups * Heads);
        using var turned = new NativeBuffer(shape.PairBytes);
        using var encoded = new NativeBuffer(headGroups * shape.QueryBytes);
        var scores = new float[headGroups * Heads * ByteKernels.ScoreStride];

        // Act
        fixed (float* s = scores)
        fixed (byte* row = rows.Bytes)
        {
            for (var half = 0; half < 2; half++)
            {
                ByteTurning.TurnKeys(
                    shape, row + (half * ByteTurning.Keys * layout.BytesPerTokenAndLayer),
                    layout.BytesPerTokenAndLayer, turned.Pointer + (half * 64));
            }

            Encode(tiles, layout, queries, encoded.Pointer);
            new ByteKernels(path).Score(new ByteScores
            {
                Ropes = (uint*)encoded.Pointer,
                Latents = (uint*)(encoded.Pointer + shape.QueryLatentsAt),
                QueryScales = (float*)(encoded.Pointer + shape.QueryScalesAt),
                Starts = (int*)(encoded.Pointer + shape.QueryStartsAt),
                HeadGroups = headGroups,
                QueryBytes = shape.QueryBytes,
                KeyRopes = turned.Pointer + shape.RopeAt,
                KeyLatents = turned.Pointer + shape.LatentsAt,
                KeyScales = turned.Pointer,
                RopePairs = shape.RopePairs,
                Groups = shape.Groups,
                Scores = s,
            });
        }

        // Assert
        for (var head = 0; head < headGroups * Heads; head++)
        {
            var expected = new float[ByteTileShape.PairKeys];
            for (var key = 0; key < expected.Length; key++)
            {
                expected[key] = ByteOracle.Score(
                    queries.Rope(head), queries.Latent(head), queries.Scales(head), rows.Rope(key), rows.Latent(key),
                    rows.Scales(key));
            }

            Assert.That(
                Closeness.SameBits(scores.AsSpan(head * ByteKernels.ScoreStride, expected.Length), expected),
                $"head {head}");
        }
    }

    [Test]
    public void Weigh_TileAfterTile_HasTheBitsOfTheDefinition(
        [ValueSource(nameof(Paths))] InstructionPath path, [Values(64, 128)] int width,
        [Values(0, 1, 12, 500)] float magnitude, [Values(1, 3)] int groups)
    {
        // Arrange: flat weights, which have one part, and sharp ones; a third tile that shows fewer keys.
        const float Scale = 0.9f;
        using var tensors = new TestTensors(width + (int)magnitude + groups);
        var kernels = new ByteKernels(path);
        var (maxima, sums) = (new float[Heads], new float[Heads]);
        Array.Fill(maxima, float.NegativeInfinity);
        var (expectedMaxima, expectedSums) = (maxima.ToArray(), sums.ToArray());
        for (var tile = 0; tile < 3; tile++)
        {
            var keys = tile == 2 ? width - 13 : width;
            var scores = Enumerable.Range(0, Heads * ByteKernels.ScoreStride)
                .Select(i => i % ByteKernels.ScoreStride < keys
                    ? tensors.NextValue() * magnitude : float.NegativeInfinity).ToArray();
            var keyScales = Enumerable.Range(0, groups).Select(group => Enumerable.Range(0, width)
                .Select(key => key < keys && group < 2 ? 0.1f + Math.Abs(tensors.NextValue()) : 0).ToArray())
                .ToArray();
            var output = new ByteTestWeights(groups);

            // Act
            var spread = output.Run(kernels, scores, keyScales, keys, maxima, sums, Scale);
            var expected = Enumerable.Range(0, Heads).Select(head => ByteOracle.Weigh(
                scores[(head * ByteKernels.ScoreStride)..((head * ByteKernels.ScoreStride) + width)], Scale,
                keyScales, spread, ref expectedMaxima[head], ref expectedSums[head])).ToArray();

            // Assert: a maximum of zeros may have either sign, which nothing shows.
            Assert.That(maxima, Is.EqualTo(expectedMaxima));
            Assert.That(Closeness.SameBits(sums, expectedSums), $"tile {tile}");
            Assert.That(output.Rescale, Is.EqualTo(expected.Select(head => head.Rescale)), $"tile {tile}");
            Assert.That(output.LowRows, Is.EqualTo(expected.Count(head => head.IsHeavy)));
            var low = 0;
            for (var head = 0; head < Heads; head++)
            {
                output.AssertHead(head, expected[head], expected[head].IsHeavy ? low++ : -1, width);
            }
        }
    }

    [Test]
    public void Scales_OneKeyFarAboveOthers_SpreadTellsOfIt()
    {
        var scales = new float[2 * KeyTiles.TileKeys];
        var greatest = new float[2];
        Array.Fill(scales, 0.5f);
        scales[KeyTiles.TileKeys + 3] = 50;
        float spread;

        fixed (float* s = scales, g = greatest)
        {
            spread = ByteTurning.Scales(2, s, KeyTiles.TileKeys, g);
        }

        var mean = ((127 * 0.5f) + 50) / 128;
        Assert.That(greatest, Is.EqualTo(new[] { 0.5f, 50 }));
        Assert.That(scales[0], Is.EqualTo(1));
        Assert.That(scales[KeyTiles.TileKeys], Is.EqualTo(0.01f).Within(1e-6));
        Assert.That(spread, Is.EqualTo(16 * 50 / mean).Within(1e-2));
    }

    [Test]
    public void Sum_RandomRows_HasTheBitsOfTheDefinition(
        [ValueSource(nameof(Paths))] InstructionPath path, [Values(32, 128)] int keys, [Values(4, 8)] int rows,
        [Values(1, 3)] int batches)
    {
        // Arrange
        const int BatchBytes = 2 * ByteRows.GroupBytes;
        const int BatchUnits = 2 * ByteRows.Count;
        using var tensors = new TestTensors(keys + rows + batches);
        var latents = new byte[(keys + 1) * GroupValues];
        var weights = new byte[batches * BatchBytes];
        Array.ForEach([latents, weights], bytes => Fill(tensors, bytes));
        var units = Values(tensors, batches * BatchUnits);
        var rescale = Values(tensors, batches * ByteRows.Count);
        var sums = Values(tensors, batches * ByteRows.Count * GroupValues);
        var before = sums.ToArray();
        var offsets = Enumerable.Range(0, batches * ByteRows.Count)
            .Select(row => (long)row * GroupValues * sizeof(float)).ToArray();
        using var turned = new NativeBuffer(2 * ByteTileShape.HalfGroupBytes);
        using var next = new NativeBuffer(2 * ByteTileShape.HalfGroupBytes);

        // Act
        fixed (byte* l = latents, w = weights)
        fixed (float* u = units, r = rescale, s = sums)
        fixed (long* o = offsets)
        {
            var runs = stackalloc RowRun[KeyTiles.TileKeys / ByteTurning.Keys];
            for (var run = 0; run < keys / ByteTurning.Keys; run++)
            {
                runs[run] = new RowRun { First = l + (run * ByteTurning.Keys * GroupValues), Stride = GroupValues };
            }

            ByteTurning.TurnLatents(runs, keys, 0, turned.Pointer);
            new ByteKernels(path).Sum(
                new ByteSums
                {
                    Latents = turned.Pointer,
                    Weights = w,
                    Units = u,
                    Rescale = r,
                    Offsets = o,
                    Sums = (byte*)s,
                    Batches = rows == ByteRows.Count ? batches : 1,
                    BatchBytes = BatchBytes,
                    Quads = keys / ByteTileShape.QuadKeys,
                    NextRuns = runs,
                    NextOffset = 64,
                    NextLatents = next.Pointer,
                },
                rows);
        }

        // Assert
        var end = rows == ByteRows.Count ? batches * rows : rows;
        for (var row = 0; row < end; row++)
        {
            var of = weights.AsSpan(
                (row / ByteRows.Count * BatchBytes) + (row % ByteRows.Count * ByteRows.Bytes), keys).ToArray();
            var unit = units[(row / ByteRows.Count * BatchUnits) + (row % ByteRows.Count)];
            var (start, actual) = (Ordered(path, before, row), Ordered(path, sums, row));
            for (var i = 0; i < GroupValues; i++)
            {
                var expected = ByteOracle.Sum(
                    start[i], rescale[row], of, unit, key => (sbyte)latents[(key * GroupValues) + i]);
                Assert.That(Closeness.SameBits([actual[i]], [expected]), $"row {row}, latent {i}");
            }
        }

        Assert.That(sums[(end * GroupValues)..], Is.EqualTo(before[(end * GroupValues)..]));
        AssertTurned(latents, keys, GroupValues, next.Pointer);
    }

    [Test]
    public void InterleaveByQuarters_RandomRows_IsAsWithWideRegisters()
    {
        using var tensors = new TestTensors(3);
        var rows = new byte[4 * 80];
        Fill(tensors, rows);
        var (actual, expected) = (
            new byte[2 * ByteTileShape.HalfGroupBytes], new byte[2 * ByteTileShape.HalfGroupBytes]);

        fixed (byte* r = rows, a = actual, e = expected)
        {
            ByteTurning.InterleaveByQuarters(r, 80, a);
            ByteTurning.Interleave(r, 80, e);
        }

        Assert.That(actual, Is.EqualTo(expected));
        Assert.That(actual[..8], Is.EqualTo(
            new[] { rows[0], rows[80], rows[160], rows[240], rows[1], rows[81], rows[161], rows[241] }));
    }

    /// <summary>
    /// Of 64 latents, the i-th vector has those of places 4 i to 4 i + 3 of each 16, four keys to a word.
    /// </summary>
    private static void AssertTurned(byte[] rows, int keys, int offset, byte* turned)
    {
        for (var key = 0; key < keys; key++)
        {
            for (var i = 0; i < GroupValues; i++)
            {
                var (half, vector) = (i / 8 % 2, i / 4 % 2);
                var at = (half * ByteTileShape.HalfGroupBytes) + (key / 4 * ByteTileShape.StepBytes) + (vector * 64)
                    + (i / 16 * 16) + (i % 4 * 4) + (key % 4);
                Assert.That(turned[at], Is.EqualTo(rows[offset + (key * GroupValues) + i]), $"key {key}, latent {i}");
            }
        }
    }

    private static float[] Ordered(InstructionPath path, float[] sums, int row)
    {
        var ordered = new float[GroupValues];
        fixed (float* from = sums, to = ordered)
        {
            new ByteTiles(new ByteKernels(path)).CopyOrdered(from + (row * GroupValues), to, GroupValues);
        }

        return ordered;
    }

    private static void Encode(ByteTiles tiles, KvLayout layout, ByteTestRows queries, byte* target)
    {
        for (var head = 0; head < queries.Count; head++)
        {
            fixed (float* values = queries.Values[head])
            {
                tiles.EncodeQuery(
                    layout, values, values + layout.LatentRank,
                    target + (head / Heads * tiles.QueryGroupBytes(layout)), head % Heads);
            }
        }
    }

    private static void Fill(TestTensors tensors, byte[] bytes)
    {
        foreach (ref var value in bytes.AsSpan())
        {
            value = (byte)tensors.Next(0, 255);
        }
    }

    private static float[] Values(TestTensors tensors, int count) =>
        [.. Enumerable.Range(0, count).Select(_ => tensors.NextValue())];

    private static ByteTestRows Rows(TestTensors tensors, KvLayout layout, int count) => new(
        layout, [.. Enumerable.Range(0, count).Select(_ => Values(tensors, layout.ValuesPerTokenAndLayer))]);
}
