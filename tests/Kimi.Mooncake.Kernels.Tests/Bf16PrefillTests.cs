using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Quantization;
using Kimi.Mooncake.Kernels.Reference;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>
/// Prefill attention in bfloat16: a row's bits depend on the row alone, on every path, and are close to the exact
/// result.
/// </summary>
internal sealed class Bf16PrefillTests
{
    // More than one tile of keys and less than two.
    private const int Positions = 600;

    // Keys, values, queries, weights of the softmax: each is rounded by at most 2^-9.
    private const double RelativeErrorMax = 0.02;

    private static readonly AttentionShape[] Shapes =
    [
        new(3, 40, 16, 24, 48, 0.2f), new(2, 13, 6, 5, 11, 0.7f), new(2, 70, 32, 48, 160, 0.1f),
        new(1, 128, 64, 128, 512, 0.1f),
    ];

    public static IEnumerable<InstructionPath> Paths =>
        Enum.GetValues<InstructionPath>().Where(InstructionPaths.IsSupported);

    [TestCase(1, 2, 0)]
    [TestCase(1, 3, 1)]
    [TestCase(7, 1, 1)]
    [TestCase(7, 3, 2)]
    [TestCase(64, 1, 0)]
    [TestCase(64, 3, 3)]
    [TestCase(512, 2, 1)]
    [TestCase(512, 3, 2)]
    public void PrefillAttention_AnyChunkingThreadsAndPath_SameBits(int chunk, int threads, int shapeIndex)
    {
        // Arrange
        var shape = Shapes[shapeIndex];
        using var tensors = new TestTensors(77);
        var (pool, table) = tensors.Pool(shape, Positions);
        var projections = Projections(tensors, shape, TensorType.BF16);
        var q = tensors.Matrix(Positions, shape.HeadCount * shape.QueryDimension, 4);
        var whole = tensors.Matrix(Positions, shape.HeadCount * shape.ValueDimension);
        using var oneThread = Fast(InstructionPath.Portable, 1);
        using var wholeWeight = oneThread.PackAttention(projections);
        oneThread.PrefillAttention(wholeWeight, pool, 0, table, 0, q.All, whole.All);
        var values = new float[pool.Layout.ValuesPerTokenAndLayer];
        foreach (var path in Paths)
        {
            var parts = tensors.Matrix(Positions, shape.HeadCount * shape.ValueDimension);
            using var kernels = Fast(path, threads);
            using var weight = kernels.PackAttention(projections);
            var (target, _) = tensors.Pool(shape, 0, spareBlocks: pool.BlockCount);
            var targetTable = Enumerable.Range(0, pool.BlockCount).Reverse().ToArray();

            // Act: in chunks, where later positions of the pool are NaN until they are written.
            for (var first = 0; first < Positions; first += chunk)
            {
                var rows = Math.Min(chunk, Positions - first);
                for (var p = first; p < first + rows; p++)
                {
                    pool.Read(table[p / 16], 0, p % 16, values);
                    target.Write(targetTable[p / 16], 0, p % 16, values);
                }

                kernels.PrefillAttention(
                    weight, target, 0, targetTable, first, q.All.Slice(first, rows), parts.All.Slice(first, rows));
            }

            // Assert
            Assert.That(Closeness.FirstDifferentRow(whole.All, parts.All), Is.EqualTo(-1), $"{path}");
        }

        Assert.That(float.IsFinite(whole.All.Row(Positions - 1)[0]));
    }

    [Test]
    public void PrefillAttention_RandomShapes_PathsAgreeCloseToTheReference([Range(1, 40)] int seed)
    {
        // Arrange
        using var tensors = new TestTensors(seed);
        var shape = new AttentionShape(
            tensors.Next(1, 9), tensors.Next(1, 70), 2 * tensors.Next(1, 20), tensors.Next(1, 70), tensors.Next(1, 70),
            Scale: 0.3f);
        var (rows, firstPosition) = (tensors.Next(1, 120), tensors.Next(0, 3) * tensors.Next(0, 300));
        var kvType = (KvElementType)tensors.Next(0, 2);
        var (pool, table) = tensors.Pool(shape, firstPosition + rows, 16 << tensors.Next(0, 2), type: kvType);
        var projections = Projections(tensors, shape, TensorType.BF16);
        var q = tensors.Matrix(rows, shape.HeadCount * shape.QueryDimension);
        var (first, expected) = (Output(tensors, shape, rows), Output(tensors, shape, rows));
        using var reference = new ReferenceKernels();
        using var referenceWeight = reference.PackAttention(projections);

        // Act
        reference.PrefillAttention(referenceWeight, pool, 1, table, firstPosition, q.All, expected.All);
        foreach (var path in Paths)
        {
            var actual = path == InstructionPath.Portable ? first : Output(tensors, shape, rows);
            using var kernels = Fast(path, 2);
            using var weight = kernels.PackAttention(projections);
            kernels.PrefillAttention(weight, pool, 1, table, firstPosition, q.All, actual.All);

            // Assert
            Assert.That(Closeness.FirstDifferentRow(first.All, actual.All), Is.EqualTo(-1), $"seed {seed}: {path}");
        }

        Assert.That(
            Closeness.RelativeError(first.All, expected.All), Is.LessThan(RelativeErrorMax),
            $"seed {seed}: {shape}, {firstPosition}+{rows}, {kvType}");
    }

    [TestCase(TensorType.BF16, true)]
    [TestCase(TensorType.Q8_0, false)]
    [TestCase(TensorType.Q8_0, true)]
    [TestCase(TensorType.Q4_K, true)]
    [TestCase(TensorType.MXFP4, false)]
    public void PrefillAttention_AnyStoredType_CloseToTheReference(TensorType type, bool combined)
    {
        using var tensors = new TestTensors(44);
        var shape = new AttentionShape(3, 64, 16, 96, 256, 0.2f);
        var projections = Projections(tensors, shape, type, combined);
        var (pool, table) = tensors.Pool(shape, 300);
        var q = tensors.Matrix(70, shape.HeadCount * shape.QueryDimension);
        var (actual, expected) = (Output(tensors, shape, 70), Output(tensors, shape, 70));
        using var kernels = Fast(InstructionPaths.Best, 2);
        using var reference = new ReferenceKernels();
        using var weight = kernels.PackAttention(projections);
        using var referenceWeight = reference.PackAttention(projections);

        kernels.PrefillAttention(weight, pool, 0, table, 230, q.All, actual.All);
        reference.PrefillAttention(referenceWeight, pool, 0, table, 230, q.All, expected.All);

        Assert.That(Closeness.RelativeError(actual.All, expected.All), Is.LessThan(RelativeErrorMax));
    }

    [Test]
    public void PrefillAttention_SingleProjections_AreTheExactBits(
        [Values(TensorType.F32, TensorType.F16)] TensorType type)
    {
        using var tensors = new TestTensors(45);
        var shape = Shapes[0];
        var projections = Projections(tensors, shape, type);
        var (pool, table) = tensors.Pool(shape, 40);
        var q = tensors.Matrix(40, shape.HeadCount * shape.QueryDimension);
        var (fast, exact) = (Output(tensors, shape, 40), Output(tensors, shape, 40));
        using var fastKernels = Fast(InstructionPaths.Best, 2);
        using var exactKernels = new CpuKernels(1);
        using var fastWeight = fastKernels.PackAttention(projections);
        using var exactWeight = exactKernels.PackAttention(projections);

        fastKernels.PrefillAttention(fastWeight, pool, 0, table, 0, q.All, fast.All);
        exactKernels.PrefillAttention(exactWeight, pool, 0, table, 0, q.All, exact.All);

        Assert.That(Closeness.FirstDifferentRow(fast.All, exact.All), Is.EqualTo(-1));
    }

    [Test]
    public void PrefillAttention_Cancelled_LeavesTheOutput()
    {
        using var tensors = new TestTensors(46);
        var shape = Shapes[0];
        var (pool, table) = tensors.Pool(shape, 40);
        var q = tensors.Matrix(40, shape.HeadCount * shape.QueryDimension);
        var output = Output(tensors, shape, 40);
        var before = output.All.Row(39).ToArray();
        using var kernels = Fast(InstructionPaths.Best, 2);
        using var weight = kernels.PackAttention(Projections(tensors, shape, TensorType.BF16));

        kernels.PrefillAttention(weight, pool, 0, table, 0, q.All, output.All, new CancellationToken(true));

        Assert.That(output.All.Row(39).ToArray(), Is.EqualTo(before));
    }

    private static CpuKernels Fast(InstructionPath path, int threads) => new(
        new CpuOptions { ThreadCount = threads, Arithmetic = CpuArithmetic.Fast, Path = path });

    private static Matrix Output(TestTensors tensors, AttentionShape shape, int rows) =>
        tensors.Matrix(rows, shape.HeadCount * shape.ValueDimension);

    /// <summary>Up-projections of a usual size, whatever they are stored in.</summary>
    private static AttentionProjections Projections(
        TestTensors tensors, AttentionShape shape, TensorType type, bool combined = false)
    {
        var (heads, nope, value, latent) = (
            shape.HeadCount, shape.NopeDimension, shape.ValueDimension, shape.LatentRank);
        return combined
            ? AttentionProjections.FromCombined(shape, Encoded(tensors, type, heads * (nope + value), latent))
            : AttentionProjections.FromSplit(
                shape, Encoded(tensors, type, heads * latent, nope), Encoded(tensors, type, heads * value, latent));
    }

    private static TensorData Encoded(TestTensors tensors, TensorType type, int rows, int columns)
    {
        var rowBytes = (int)TensorTypes.RowBytes(type, columns);
        var buffer = tensors.Own(new NativeBuffer((long)rows * rowBytes));
        var values = new float[columns];
        var scale = 1 / MathF.Sqrt(columns);
        for (var row = 0; row < rows; row++)
        {
            foreach (ref var value in values.AsSpan())
            {
                value = tensors.NextValue() * scale;
            }

            TensorEncoder.EncodeRow(type, values, buffer.Span((long)row * rowBytes, rowBytes));
        }

        return buffer.Tensor(0, type, rows, columns);
    }
}
