using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Reference;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>
/// Attention of single rows in bfloat16, and in bytes over cached bytes: near the reference, and the same bits on every
/// path, for any number of threads and whatever other rows are computed with one. Memory of the pools that is not
/// written is NaN.
/// </summary>
internal sealed class AbsorbedAttentionTests
{
    // Of the largest output: queries, cached values and weights keep 8 bits each.
    private const double RelativeErrorMax = 0.02;

    private static readonly InstructionPath[] Paths =
        [.. Enum.GetValues<InstructionPath>().Where(InstructionPaths.IsSupported)];

    // Whole registers, read in place; a latent that ends within a block; multiples of nothing; more than eight heads;
    // an odd rotated key, and a group of two values; two groups of bytes, and one head too many.
    private static readonly AttentionShape[] Shapes =
    [
        new(4, 32, 32, 32, 160, 0.2f), new(3, 16, 16, 24, 80, 0.2f), new(5, 13, 6, 5, 11, 0.7f),
        new(19, 16, 32, 16, 64, 0.3f), new(1, 8, 5, 8, 130, 0.5f), new(17, 16, 64, 16, 128, 0.3f),
    ];

    [Test]
    public void DecodeAttention_AnyShapeAndType_IsNearTheReference(
        [Range(0, 5)] int shape, [Values] KvElementType type, [Values] bool combined)
    {
        // Arrange
        using var tensors = new TestTensors(shape + 10);
        int[] contexts = [1, 2, 3, 16, 127, 128, 129, 301];
        var (pool, table) = tensors.Pool(Shapes[shape], contexts.Max(), 32, type: type);
        var projections = Projections(tensors, Shapes[shape], combined);
        var rows = contexts.Select(context => new DecodeRow(0, context)).ToArray();
        var q = tensors.Matrix(rows.Length, Shapes[shape].HeadCount * Shapes[shape].QueryDimension, 2);
        var (actual, expected) = (Output(tensors, Shapes[shape], rows), Output(tensors, Shapes[shape], rows));
        using var kernels = new CpuKernels(Options(2));
        using var reference = new ReferenceKernels();
        using var weight = kernels.PackAttention(projections);
        using var referenceWeight = reference.PackAttention(projections);

        // Act
        kernels.DecodeAttention(weight, pool, 1, table, rows, q.All, actual.All);
        reference.DecodeAttention(referenceWeight, pool, 1, table, rows, q.All, expected.All);

        // Assert
        var error = Closeness.RelativeError(actual.All, expected.All);
        Assert.That(error, Is.LessThan(RelativeErrorMax).And.GreaterThan(1e-6));
    }

    [Test]
    public void DecodeAttention_AnyPathThreadsAndBatch_SameBits(
        [ValueSource(nameof(Paths))] InstructionPath path, [Values(1, 2, 5)] int threads,
        [Range(0, 5)] int shape, [Values] KvElementType type)
    {
        // Arrange: from one key to more than two ranges.
        using var tensors = new TestTensors(shape + 40);
        int[] contexts = [2309, 1, 700, 1024, 1025, 33];
        var (pool, table) = tensors.Pool(Shapes[shape], contexts.Max(), shape == 1 ? 16 : 64, type: type);
        var projections = Projections(tensors, Shapes[shape], combined: shape == 1);
        var rows = contexts.Select(context => new DecodeRow(0, context)).ToArray();
        var q = tensors.Matrix(rows.Length, Shapes[shape].HeadCount * Shapes[shape].QueryDimension, 2);
        var (batch, alone) = (Output(tensors, Shapes[shape], rows), Output(tensors, Shapes[shape], rows));
        using var kernels = new CpuKernels(Options(threads, path));
        using var single = new CpuKernels(Options(1));
        using var weight = kernels.PackAttention(projections);
        using var singleWeight = single.PackAttention(projections);

        // Act
        kernels.DecodeAttention(weight, pool, 1, table, rows, q.All, batch.All);
        for (var row = 0; row < rows.Length; row++)
        {
            single.DecodeAttention(
                singleWeight, pool, 1, table, rows.AsSpan(row, 1), q.All.Slice(row, 1), alone.All.Slice(row, 1));
        }

        // Assert
        Assert.That(Closeness.FirstDifferentRow(batch.All, alone.All), Is.EqualTo(-1));
        Assert.That(float.IsFinite(batch.All.Row(0)[0]));
    }

    [Test]
    public void DecodeAttention_WeightsFarApart_SameBitsOnAllPaths([ValueSource(nameof(Paths))] InstructionPath path)
    {
        // Arrange: scores that leave weights from 1 to nothing, and values near the smallest normal number.
        using var tensors = new TestTensors(3);
        var shape = Shapes[0] with { Scale = 40 };
        var (pool, table) = tensors.Pool(shape, 300, 32, type: KvElementType.BF16);
        var values = new float[pool.Layout.ValuesPerTokenAndLayer];
        for (var position = 0; position < 300; position += 7)
        {
            pool.Read(table[position / 32], 1, position % 32, values);
            pool.Write(table[position / 32], 1, position % 32, [.. values.Select(value => value * 1e-37f)]);
        }

        var q = tensors.Matrix(1, shape.HeadCount * shape.QueryDimension, 4);
        DecodeRow[] rows = [new(0, 299)];
        var (actual, expected) = (Output(tensors, shape, rows), Output(tensors, shape, rows));
        var projections = Projections(tensors, shape, combined: false);
        using var kernels = new CpuKernels(Options(1, path));
        using var portable = new CpuKernels(Options(1, InstructionPath.Portable));
        using var weight = kernels.PackAttention(projections);
        using var portableWeight = portable.PackAttention(projections);

        // Act
        kernels.DecodeAttention(weight, pool, 1, table, rows, q.All, actual.All);
        portable.DecodeAttention(portableWeight, pool, 1, table, rows, q.All, expected.All);

        // Assert
        Assert.That(Closeness.SameBits(actual.All.Row(0), expected.All.Row(0)));
    }

    [Test]
    public void DecodeAttention_ProjectionsInFullPrecision_StaysExact(
        [Values(TensorType.F32, TensorType.F16)] TensorType stored)
    {
        using var tensors = new TestTensors(8);
        var shape = Shapes[0];
        var (pool, table) = tensors.Pool(shape, 100, 32);
        var projections = Projections(tensors, shape, combined: false, stored);
        DecodeRow[] rows = [new(0, 100)];
        var q = tensors.Matrix(1, shape.HeadCount * shape.QueryDimension, 2);
        var (actual, expected) = (Output(tensors, shape, rows), Output(tensors, shape, rows));
        using var fast = new CpuKernels(Options(2));
        using var exact = new CpuKernels(2);
        using var fastWeight = fast.PackAttention(projections);
        using var exactWeight = exact.PackAttention(projections);

        fast.DecodeAttention(fastWeight, pool, 1, table, rows, q.All, actual.All);
        exact.DecodeAttention(exactWeight, pool, 1, table, rows, q.All, expected.All);

        Assert.That(Closeness.SameBits(actual.All.Row(0), expected.All.Row(0)));
    }

    [Test]
    [NonParallelizable]
    public void DecodeAttention_AfterWarmUp_DoesNotAllocate(
        [Values(1, 2)] int threads, [ValueSource(nameof(Paths))] InstructionPath path, [Values] KvElementType type)
    {
        using var tensors = new TestTensors(6);
        var shape = Shapes[3];
        var (pool, table) = tensors.Pool(shape, 300, 32, type: type);
        DecodeRow[] rows = [new(0, 300), new(0, 5)];
        var q = tensors.Matrix(2, shape.HeadCount * shape.QueryDimension, 2);
        var output = Output(tensors, shape, rows);
        using var kernels = new CpuKernels(Options(threads, path));
        using var weight = kernels.PackAttention(Projections(tensors, shape, combined: false));
        for (var i = 0; i < 60; i++)
        {
            kernels.DecodeAttention(weight, pool, 1, table, rows, q.All, output.All);
        }

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 20; i++)
        {
            kernels.DecodeAttention(weight, pool, 1, table, rows, q.All, output.All);
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    private static CpuOptions Options(int threads, InstructionPath? path = null) => new()
    {
        ThreadCount = threads,
        Arithmetic = CpuArithmetic.Fast,
        Path = path ?? InstructionPaths.Best,
    };

    /// <summary>Projections of which the kernels compute in bfloat16, as they are stored in it.</summary>
    private static AttentionProjections Projections(
        TestTensors tensors, AttentionShape shape, bool combined, TensorType type = TensorType.BF16)
    {
        TensorData Stored(int rows, int columns) => tensors.Rounded(type, rows, columns, 1 / MathF.Sqrt(columns));

        return combined
            ? AttentionProjections.FromCombined(
                shape, Stored(shape.HeadCount * (shape.NopeDimension + shape.ValueDimension), shape.LatentRank))
            : AttentionProjections.FromSplit(
                shape,
                Stored(shape.HeadCount * shape.LatentRank, shape.NopeDimension),
                Stored(shape.HeadCount * shape.ValueDimension, shape.LatentRank));
    }

    private static Matrix Output(TestTensors tensors, AttentionShape shape, DecodeRow[] rows) =>
        tensors.Matrix(rows.Length, shape.HeadCount * shape.ValueDimension);
}
