using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels.Cpu;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>
/// What KV types and bfloat16 cost in accuracy at the dimensions of K2: the root mean square of the difference from
/// exact attention over singles, over that of the outputs. The bounds are the figures of the README, rounded up.
/// </summary>
internal sealed class KvAccuracyTests
{
    private const int Positions = 700;

    private static readonly AttentionShape Shape = new(4, 128, 64, 128, 512, 0.07f);

    [TestCase(CpuArithmetic.Exact, KvElementType.BF16, 4, 0.0035)]
    [TestCase(CpuArithmetic.Exact, KvElementType.Q8, 4, 0.009)]
    [TestCase(CpuArithmetic.Fast, KvElementType.F32, 4, 0.005)]
    [TestCase(CpuArithmetic.Fast, KvElementType.BF16, 4, 0.005)]
    [TestCase(CpuArithmetic.Fast, KvElementType.Q8, 4, 0.01)]
    [TestCase(CpuArithmetic.Exact, KvElementType.Q8, 0.2f, 0.009)]
    [TestCase(CpuArithmetic.Fast, KvElementType.Q8, 0.2f, 0.01)]
    [TestCase(CpuArithmetic.Exact, KvElementType.Q8, 20, 0.02)]
    [TestCase(CpuArithmetic.Fast, KvElementType.Q8, 20, 0.03)]
    public void DecodeAttention_OverAType_DiffersLittleFromSingles(
        CpuArithmetic arithmetic, KvElementType type, float sharpness, double errorMax)
    {
        // Arrange: values as a norm leaves them; sharp weights on some keys, all alike, or a few keys that count alone.
        using var tensors = new TestTensors(12);
        var (singles, table) = tensors.Pool(Shape, Positions, 64, layers: 1);
        var pool = tensors.Own(new PagedKvMemory(singles.Layout with { ElementType = type }, singles.BlockCount));
        var row = new float[singles.Layout.ValuesPerTokenAndLayer];
        for (var position = 0; position < Positions; position++)
        {
            var (block, token) = (table[position / 64], position % 64);
            foreach (ref var value in row.AsSpan())
            {
                value = tensors.NextValue() + tensors.NextValue() + tensors.NextValue();
            }

            singles.Write(block, 0, token, row);
            pool.Write(block, 0, token, row);
        }

        var projections = AttentionProjections.FromSplit(
            Shape,
            tensors.Rounded(TensorType.BF16, Shape.HeadCount * Shape.LatentRank, Shape.NopeDimension, 0.04f),
            tensors.Rounded(TensorType.BF16, Shape.HeadCount * Shape.ValueDimension, Shape.LatentRank, 0.04f));
        DecodeRow[] rows = [.. Enumerable.Range(1, 7).Select(i => new DecodeRow(0, 100 * i))];
        var q = tensors.Matrix(rows.Length, Shape.HeadCount * Shape.QueryDimension, sharpness);
        var actual = tensors.Matrix(rows.Length, Shape.HeadCount * Shape.ValueDimension);
        var expected = tensors.Matrix(rows.Length, Shape.HeadCount * Shape.ValueDimension);
        using var kernels = new CpuKernels(new CpuOptions { ThreadCount = 2, Arithmetic = arithmetic });
        using var exact = new CpuKernels(2);
        using var weight = kernels.PackAttention(projections);
        using var exactWeight = exact.PackAttention(projections);

        // Act
        kernels.DecodeAttention(weight, pool, 0, table, rows, q.All, actual.All);
        exact.DecodeAttention(exactWeight, singles, 0, table, rows, q.All, expected.All);

        // Assert
        var error = RootMeanSquare(actual.All, expected.All);
        TestContext.Out.WriteLine($"{arithmetic} over {type}, {sharpness}: {error:0.00000}");
        Assert.That(error, Is.LessThan(errorMax).And.GreaterThan(errorMax / 4));
    }

    private static double RootMeanSquare(in MatrixView actual, in MatrixView expected)
    {
        var (difference, magnitude) = (0.0, 0.0);
        for (var row = 0; row < expected.Rows; row++)
        {
            var a = actual.Row(row);
            var e = expected.Row(row);
            for (var i = 0; i < e.Length; i++)
            {
                difference += Math.Pow((double)a[i] - e[i], 2);
                magnitude += Math.Pow(e[i], 2);
            }
        }

        return Math.Sqrt(difference / magnitude);
    }
}
