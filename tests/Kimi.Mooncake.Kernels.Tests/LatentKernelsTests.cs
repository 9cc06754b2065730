using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Cpu.Absorbed;
using Kimi.Mooncake.Kernels.Reference;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>
/// The products of absorbed attention in bfloat16, and the softmax between, give the bits of their definition on every
/// path.
/// </summary>
internal sealed unsafe class LatentKernelsTests
{
    private const int Heads = LatentKernels.Heads;

    private static readonly InstructionPath[] Paths =
        [.. Enum.GetValues<InstructionPath>().Where(InstructionPaths.IsSupported)];

    [Test]
    public void Score_RandomRows_HasTheBitsOfTheDefinition(
        [ValueSource(nameof(Paths))] InstructionPath path, [Values(1, 3, 4, 17)] int keys, [Values(1, 6)] int steps,
        [Values] bool tiny)
    {
        // Arrange: tiny values have products and sums that are not normal numbers.
        using var tensors = new TestTensors((keys * 100) + steps);
        var kernels = new LatentKernels(path);
        var values = steps * LatentKernels.StepValues;
        var queries = Values(tensors, Heads * values, tiny);
        var rows = Values(tensors, keys * values, tiny);
        var scores = new float[Heads * 32];
        var expected = new float[Heads * 32];

        // Act
        fixed (ushort* q = queries, k = rows)
        fixed (float* s = scores)
        {
            var call = new LatentScores
            {
                Queries = q,
                QueryStrideBytes = values * sizeof(ushort),
                Keys = (byte*)k,
                KeyStrideBytes = values * sizeof(ushort),
                Steps = steps,
                Scores = s,
                ScoreStrideBytes = 32 * sizeof(float),
            };
            kernels.Score(
                call, keys, kernels.Exponent((byte*)q, call.QueryStrideBytes, Heads, values),
                kernels.Exponent((byte*)k, call.KeyStrideBytes, keys, values));
        }

        // Assert
        for (var head = 0; head < Heads; head++)
        {
            for (var key = 0; key < keys; key++)
            {
                expected[key] = LatentOracle.Score(
                    queries.AsSpan(head * values, values), rows.AsSpan(key * values, values));
            }

            Assert.That(
                Closeness.SameBits(scores.AsSpan(head * 32, keys), expected.AsSpan(0, keys)), $"head {head}");
        }

        Assert.That(expected[..keys], Has.Some.Not.Zero);
    }

    [Test]
    public void Weigh_TileAfterTile_HasTheBitsOfTheDefinition(
        [ValueSource(nameof(Paths))] InstructionPath path, [Values(32, 96, 128)] int width,
        [Values(0, 1, 30, 500)] float magnitude)
    {
        // Arrange: a third tile that shows fewer keys, and scores that leave nothing of most weights.
        const float Scale = 0.9f;
        const int Stride = 160;
        using var tensors = new TestTensors(width + (int)magnitude);
        var kernels = new LatentKernels(path);
        var (maxima, sums) = (new float[Heads], new float[Heads]);
        Array.Fill(maxima, float.NegativeInfinity);
        var (expectedMaxima, expectedSums) = (maxima.ToArray(), sums.ToArray());
        for (var tile = 0; tile < 3; tile++)
        {
            var hidden = tile == 2 ? 13 : 0;
            var scores = Enumerable.Range(0, Heads * Stride).Select(i => i % Stride < width - hidden
                ? tensors.NextValue() * magnitude : float.NegativeInfinity).ToArray();
            var expected = Enumerable.Range(0, Heads).Select(head => LatentOracle.Weigh(
                scores[(head * Stride)..((head * Stride) + width)], Scale, ref expectedMaxima[head],
                ref expectedSums[head])).ToArray();
            var (weights, rescale) = (new ushort[Heads * LatentKernels.WeightStride], new float[Heads]);

            // Act
            fixed (float* s = scores, m = maxima, u = sums, r = rescale)
            fixed (ushort* w = weights)
            {
                kernels.Weigh(new LatentWeights
                {
                    Scores = s,
                    ScoreStrideBytes = Stride * sizeof(float),
                    WeightBytes = width * sizeof(ushort),
                    Weights = w,
                    Maxima = m,
                    Sums = u,
                    Rescale = r,
                    Scale = Scale,
                });
            }

            // Assert: a maximum of zeros may have either sign, which nothing shows.
            Assert.That(maxima, Is.EqualTo(expectedMaxima));
            Assert.That(Closeness.SameBits(sums, expectedSums), $"tile {tile}");
            Assert.That(Closeness.SameBits(rescale, [.. expected.Select(head => head.Rescale)]), $"tile {tile}");
            for (var head = 0; head < Heads; head++)
            {
                Assert.That(
                    weights.AsSpan(head * LatentKernels.WeightStride, width).ToArray(),
                    Is.EqualTo(expected[head].Weights), $"tile {tile}, head {head}");
            }
        }
    }

    [Test]
    public void Sum_RandomRows_HasTheBitsOfTheDefinition(
        [ValueSource(nameof(Paths))] InstructionPath path, [Values(2, 16, 17, 128)] int keys,
        [Values(1, 3)] int blocks, [Values] bool tiny)
    {
        // Arrange: two runs where there are enough keys, and a last row without a partner where they are odd.
        using var tensors = new TestTensors((keys * 100) + blocks);
        var kernels = new LatentKernels(path);
        var values = blocks * LatentKernels.StepValues;
        var rows = Values(tensors, keys * values, tiny);
        var weights = new ushort[Heads * LatentKernels.WeightStride];
        var sums = new float[Heads * values];
        var rescale = new float[Heads];
        Fill(tensors, weights, sums, rescale, keys, tiny);
        var before = sums.ToArray();

        // Act
        fixed (ushort* k = rows, w = weights)
        fixed (float* s = sums, f = rescale)
        {
            var stride = values * sizeof(ushort);
            var runs = stackalloc LatentRun[3];
            var first = keys >= 16 ? 4 : keys / 2;
            runs[0] = new LatentRun { First = (byte*)k, SecondOffsetBytes = stride, Pairs = first };
            runs[1] = new LatentRun
            {
                First = (byte*)k + (2 * first * stride),
                SecondOffsetBytes = stride,
                Pairs = (keys / 2) - first,
            };
            var count = runs[1].Pairs > 0 ? 2 : 1;
            if (keys % 2 != 0)
            {
                runs[count++] = new LatentRun { First = (byte*)k + ((keys - 1) * stride), Pairs = 1 };
            }

            kernels.Sum(
                new LatentSums
                {
                    Runs = runs,
                    RunCount = count,
                    Weights = w,
                    Sums = s,
                    SumStrideBytes = values * sizeof(float),
                    Rescale = f,
                    Blocks = blocks,
                    PairStrideBytes = 2 * stride,
                },
                kernels.Exponent((byte*)k, stride, keys, values));
        }

        // Assert
        for (var head = 0; head < Heads; head++)
        {
            var (actual, start) = (Ordered(kernels, sums, head, values), Ordered(kernels, before, head, values));
            var expected = new float[values];
            for (var j = 0; j < values; j++)
            {
                expected[j] = LatentOracle.Sum(
                    weights.AsSpan(head * LatentKernels.WeightStride, keys), rows, j, values, start[j],
                    rescale[head]);
            }

            Assert.That(Closeness.SameBits(actual, expected), $"head {head}");
        }
    }

    private static void Fill(
        TestTensors tensors, ushort[] weights, float[] sums, float[] rescale, int keys, bool tiny)
    {
        for (var head = 0; head < Heads; head++)
        {
            rescale[head] = head == 0 ? 0 : Math.Abs(tensors.NextValue());
            for (var key = 0; key < keys; key++)
            {
                var weight = Math.Abs(tensors.NextValue()) * (tiny ? MathF.Pow(2, -39 * (key % 2)) : 1);
                weights[(head * LatentKernels.WeightStride) + key] = Bf16Chain.Round(MathF.Max(weight, 9.1e-13f));
            }
        }

        foreach (ref var sum in sums.AsSpan())
        {
            sum = tensors.NextValue() * (tiny ? 1e-38f : 1);
        }
    }

    private static float[] Ordered(LatentKernels kernels, float[] sums, int head, int values)
    {
        var ordered = new float[values];
        fixed (float* from = sums, to = ordered)
        {
            kernels.CopyOrdered(from + (head * values), to, values);
        }

        return ordered;
    }

    private static ushort[] Values(TestTensors tensors, int count, bool tiny) =>
    [
        .. Enumerable.Range(0, count).Select(i => i % 11 == 3
            ? (ushort)0
            : Bf16Chain.Round(tensors.NextValue() * (tiny ? MathF.Pow(2, (i * 7 % 90) - 120) : 1))),
    ];
}
