using Kimi.Mooncake.Kernels.Reference;

namespace Kimi.Mooncake.Kernels.Tests;

internal sealed class ReferenceKernelsTests
{
    private const int Seed = 20261;

    [Test]
    public void Attention_ExpandedAndAbsorbed_Agree()
    {
        // Arrange
        var shape = new AttentionShape(3, 10, 6, 5, 12, 0.4f);
        const int Rows = 37;
        using var tensors = new TestTensors(Seed);
        using var kernels = new ReferenceKernels();
        var projections = tensors.UpProjections(shape);
        using var weight = kernels.PackAttention(projections);
        var (pool, table) = tensors.Pool(shape, Rows);
        var q = tensors.Matrix(Rows, shape.HeadCount * shape.QueryDimension);
        var expanded = tensors.Matrix(Rows, shape.HeadCount * shape.ValueDimension);
        var absorbed = tensors.Matrix(Rows, shape.HeadCount * shape.ValueDimension);
        var rows = Enumerable.Range(0, Rows).Select(row => new DecodeRow(0, row + 1)).ToArray();

        // Act
        kernels.PrefillAttention(weight, pool, 1, table, 0, q.All, expanded.All);
        kernels.DecodeAttention(weight, pool, 1, table, rows, q.All, absorbed.All);

        // Assert
        Assert.That(Closeness.RelativeError(absorbed.All, expanded.All), Is.LessThan(1e-6));
    }

    [Test]
    public void Attention_OnePosition_IsThatPositionsValue()
    {
        // Arrange
        var shape = new AttentionShape(1, 2, 2, 1, 2, 1f);
        using var tensors = new TestTensors(Seed);
        using var kernels = new ReferenceKernels();
        var projections = tensors.UpProjections(shape);
        var up = new float[2];
        projections.Value(0).DecodeRow(0, up);
        using var weight = kernels.PackAttention(projections);
        var (pool, table) = tensors.Pool(shape, 1);
        var q = tensors.Matrix(1, 4);
        var output = tensors.Matrix(1, 1);

        // Act
        kernels.PrefillAttention(weight, pool, 0, table, 0, q.All, output.All);

        // Assert
        var cached = new float[pool.Layout.ValuesPerTokenAndLayer];
        pool.Read(table[0], 0, 0, cached);
        Assert.That(output.All.Row(0)[0], Is.EqualTo((up[0] * cached[0]) + (up[1] * cached[1])).Within(1e-6f));
    }

    [Test]
    public void MatMul_SmallMatrices_IsTheProduct()
    {
        using var tensors = new TestTensors(Seed);
        using var kernels = new ReferenceKernels();
        var stored = tensors.Tensor(2, 3);
        var w = new float[3];
        using var weight = kernels.Pack(stored);
        var x = tensors.Matrix(4, 3);
        var y = tensors.Matrix(4, 2);

        kernels.MatMul(x.All, weight, y.All);

        for (var m = 0; m < 4; m++)
        {
            for (var n = 0; n < 2; n++)
            {
                stored.DecodeRow(n, w);
                var xRow = x.All.Row(m);
                var expected = (xRow[0] * w[0]) + (xRow[1] * w[1]) + (xRow[2] * w[2]);
                Assert.That(y.All.Row(m)[n], Is.EqualTo(expected).Within(1e-6f));
            }
        }
    }

    [Test]
    public void Rope_QuarterTurn_MovesFirstToSecond()
    {
        using var tensors = new TestTensors(Seed);
        using var kernels = new ReferenceKernels();
        var x = tensors.Matrix(1, 6);
        var before = x.All.Row(0).ToArray();

        kernels.Rope(x.All, [1], [Math.PI / 2], 1, 3, 2);

        Assert.That(
            x.All.Row(0).ToArray(),
            Is.EqualTo(new[] { before[0], -before[2], before[1], before[3], -before[5], before[4] }).Within(1e-7f));
    }

    [Test]
    public void MatMul_WrongInputSize_SaysBothShapes()
    {
        using var tensors = new TestTensors(Seed);
        using var kernels = new ReferenceKernels();
        using var weight = kernels.Pack(tensors.Tensor(2, 3));
        var x = tensors.Matrix(1, 4);
        var y = tensors.Matrix(1, 2);

        Assert.That(
            () => kernels.MatMul(x.All, weight, y.All),
            Throws.ArgumentException.With.Message.Contains("[1][4]").And.Message.Contains("[2][3]"));
    }
}
