using Kimi.Mooncake.Kernels.Cpu;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>
/// The promise of <see cref="IKernels"/>: a row's bits depend on that row alone, not on chunks, batches or threads.
/// </summary>
internal sealed class RowIndependenceTests
{
    // More than one tile of keys and less than two.
    private const int Positions = 600;
    private static readonly AttentionShape Shape = new(3, 40, 16, 24, 48, 0.2f);
    private static readonly AttentionShape OddShape = new(2, 13, 6, 5, 11, 0.7f);

    [TestCase(1, 2, false)]
    [TestCase(1, 3, true)]
    [TestCase(7, 1, true)]
    [TestCase(7, 3, false)]
    [TestCase(64, 1, false)]
    [TestCase(64, 2, true)]
    [TestCase(64, 3, false)]
    [TestCase(512, 2, false)]
    [TestCase(512, 3, true)]
    public void PrefillAttention_AnyChunking_SameBits(int chunk, int threads, bool odd) =>
        AssertSamePrefillBits(chunk, new CpuKernels(threads), odd);

    [TestCase(7, 1, true)]
    [TestCase(64, 3, false)]
    [TestCase(512, 2, true)]
    public void PrefillAttention_StoredWeight_SameBits(int chunk, int threads, bool odd) =>
        AssertSamePrefillBits(chunk, new CpuKernels(threads, packBytesMax: 0), odd);

    private static void AssertSamePrefillBits(int chunk, CpuKernels kernels, bool odd)
    {
        // Arrange
        var shape = odd ? OddShape : Shape;
        using var tensors = new TestTensors(77);
        var (pool, table) = tensors.Pool(shape, Positions);
        var projections = tensors.UpProjections(shape);
        var q = tensors.Matrix(Positions, shape.HeadCount * shape.QueryDimension, 4);
        var whole = tensors.Matrix(Positions, shape.HeadCount * shape.ValueDimension);
        var parts = tensors.Matrix(Positions, shape.HeadCount * shape.ValueDimension);
        using var oneThread = new CpuKernels(1);
        using var owned = kernels;
        using var wholeWeight = oneThread.PackAttention(projections);
        using var weight = kernels.PackAttention(projections);

        // Act: the whole at once, then in chunks where later positions of the pool are NaN until they are written.
        oneThread.PrefillAttention(wholeWeight, pool, 0, table, 0, q.All, whole.All);
        var (target, targetTable) = UnwrittenPool(tensors, shape, pool.BlockCount);
        var cached = new float[pool.Layout.ValuesPerTokenAndLayer];
        for (var first = 0; first < Positions; first += chunk)
        {
            var rows = Math.Min(chunk, Positions - first);
            for (var p = first; p < first + rows; p++)
            {
                pool.Read(table[p / 16], 0, p % 16, cached);
                target.Write(targetTable[p / 16], 0, p % 16, cached);
            }

            kernels.PrefillAttention(
                weight, target, 0, targetTable, first, q.All.Slice(first, rows), parts.All.Slice(first, rows));
        }

        // Assert
        Assert.That(Closeness.FirstDifferentRow(whole.All, parts.All), Is.EqualTo(-1));
        Assert.That(float.IsFinite(whole.All.Row(Positions - 1)[0]));
    }

    [Test]
    public void DecodeAttention_AloneOrInABatch_SameBits(
        [Values(1, 2, 3)] int threads, [Values] bool odd, [Values] bool stored)
    {
        var shape = odd ? OddShape : Shape;
        using var tensors = new TestTensors(78);
        var (pool, table) = tensors.Pool(shape, 2600, 64);
        var projections = tensors.UpProjections(shape);
        const int Rows = 13;
        var rows = Enumerable.Range(0, Rows).Select(i => new DecodeRow(0, 1 + (i * 216))).ToArray();
        var q = tensors.Matrix(Rows, shape.HeadCount * shape.QueryDimension, 4);
        var batch = tensors.Matrix(Rows, shape.HeadCount * shape.ValueDimension);
        var alone = tensors.Matrix(Rows, shape.HeadCount * shape.ValueDimension);
        using var kernels = new CpuKernels(threads, stored ? 0 : long.MaxValue);
        using var oneThread = new CpuKernels(1);
        using var weight = kernels.PackAttention(projections);
        using var aloneWeight = oneThread.PackAttention(projections);

        kernels.DecodeAttention(weight, pool, 1, table, rows, q.All, batch.All);
        for (var row = 0; row < Rows; row++)
        {
            oneThread.DecodeAttention(
                aloneWeight, pool, 1, table, rows.AsSpan(row, 1), q.All.Slice(row, 1), alone.All.Slice(row, 1));
        }

        Assert.That(Closeness.FirstDifferentRow(batch.All, alone.All), Is.EqualTo(-1));
    }

    [Test]
    public void MatMul_AnyRowsTogether_SameBits(
        [Values(1, 2, 3, 4, 5, 8, 9, 64, 300)] int chunk, [Values(1, 3)] int threads, [Values] bool stored)
    {
        using var tensors = new TestTensors(79);
        const int Rows = 600;
        var x = tensors.Matrix(Rows, 530);
        var whole = tensors.Matrix(Rows, 150);
        var parts = tensors.Matrix(Rows, 150);
        using var kernels = new CpuKernels(threads, stored ? 0 : long.MaxValue);
        using var packing = new CpuKernels(1);
        var data = tensors.Tensor(150, 530);
        using var weight = kernels.Pack(data);
        using var wholeWeight = packing.Pack(data);

        packing.MatMul(x.All, wholeWeight, whole.All);
        for (var first = 0; first < Rows; first += chunk)
        {
            var rows = Math.Min(chunk, Rows - first);
            kernels.MatMul(x.All.Slice(first, rows), weight, parts.All.Slice(first, rows));
        }

        Assert.That(Closeness.FirstDifferentRow(whole.All, parts.All), Is.EqualTo(-1));
    }

    [Test]
    public void RowOperations_OneRowOrAll_SameBits()
    {
        using var tensors = new TestTensors(80);
        const int Rows = 200;
        var up = tensors.Matrix(Rows, 333);
        var (whole, parts) = (tensors.Matrix(Rows, 333), tensors.Matrix(Rows, 333));
        var gain = up.All.Row(0).ToArray();
        var positions = Enumerable.Range(1000, Rows).ToArray();
        double[] frequencies = [1, 0.3, 0.1, 0.01, 0.001, 0.7, 0.2, 0.02, 0.003];
        using var kernels = new CpuKernels(3);
        for (var row = 0; row < Rows; row++)
        {
            whole.All.Row(row).CopyTo(parts.All.Row(row));
        }

        Apply(kernels, whole.All, up.All, gain, positions, frequencies);
        for (var row = 0; row < Rows; row++)
        {
            Apply(
                kernels, parts.All.Slice(row, 1), up.All.Slice(row, 1), gain, positions.AsSpan(row, 1),
                frequencies);
        }

        Assert.That(Closeness.FirstDifferentRow(whole.All, parts.All), Is.EqualTo(-1));
    }

    private static void Apply(
        CpuKernels kernels,
        MatrixView y,
        MatrixView x,
        ReadOnlySpan<float> gain,
        ReadOnlySpan<int> positions,
        ReadOnlySpan<double> frequencies)
    {
        kernels.SwiGlu(y, x);
        kernels.RmsNorm(y, gain, 1e-6f, y);
        kernels.Add(x, y);
        kernels.Rope(y, positions, frequencies, 5, 18, 3);
    }

    private static (PagedKvMemory Pool, int[] Table) UnwrittenPool(
        TestTensors tensors, AttentionShape shape, int blocks)
    {
        var (pool, _) = tensors.Pool(shape, 0, spareBlocks: blocks);
        return (pool, Enumerable.Range(0, blocks).Reverse().ToArray());
    }
}
