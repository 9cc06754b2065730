using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Reference;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>Several products of one input have the bits of single ones.</summary>
internal sealed class LinearProductTests
{
    [Test]
    public void MatMulMany_AnyTypes_HasTheBitsOfSingleProducts(
        [Values(1, 3, 9, 300)] int rows,
        [Values("exact 1", "exact 2", "exact 5", "fast 2", "reference")] string set)
    {
        using var tensors = new TestTensors(rows);
        using var kernels = Kernels(set);
        TensorType[] types = [TensorType.F32, TensorType.Q8_0, TensorType.BF16, TensorType.F16, TensorType.Q4_K];
        var weights = types.Select((type, i) => tensors.Own(kernels.Pack(tensors.Stored(type, 20 + (13 * i), 256))))
            .ToArray();
        var x = tensors.Matrix(rows, 256);
        var together = weights.Select(weight => tensors.Matrix(rows, weight.OutputSize)).ToArray();
        var alone = together.Select(tensors.Copy).ToArray();

        kernels.MatMulMany(
            x.All,
            new LinearProduct(weights[0], together[0].All),
            new LinearProduct(weights[1], together[1].All, IsAdded: true),
            new LinearProduct(weights[2], together[2].All),
            new LinearProduct(weights[3], together[3].All, IsAdded: true),
            new LinearProduct(weights[4], together[4].All));

        for (var i = 0; i < weights.Length; i++)
        {
            var product = tensors.Matrix(rows, weights[i].OutputSize);
            kernels.MatMul(x.All, weights[i], product.All);
            if (i is 1 or 3)
            {
                kernels.Add(product.All, alone[i].All);
                product = alone[i];
            }

            Assert.That(Closeness.FirstDifferentRow(together[i].All, product.All), Is.EqualTo(-1), $"product {i}");
        }
    }

    [Test]
    public void MatMulMany_OneThatDoesNotFit_IsRefused([Values("exact 1", "reference")] string set)
    {
        using var tensors = new TestTensors(1);
        using var kernels = Kernels(set);
        using var weight = kernels.Pack(tensors.Tensor(20, 30));
        var (x, y, narrow) = (tensors.Matrix(2, 30), tensors.Matrix(2, 20), tensors.Matrix(2, 19));

        Assert.That(
            () => kernels.MatMulMany(
                x.All, new LinearProduct(weight, y.All), new LinearProduct(weight, narrow.All, IsAdded: true)),
            Throws.ArgumentException);
    }

    private static IKernels Kernels(string set) => set.Split(' ') switch
    {
        ["reference"] => new ReferenceKernels(),
        [var arithmetic, var threads] => new CpuKernels(new CpuOptions
        {
            ThreadCount = int.Parse(threads, System.Globalization.CultureInfo.InvariantCulture),
            PackBytesMax = 0,
            Arithmetic = arithmetic == "fast" ? CpuArithmetic.Fast : CpuArithmetic.Exact,
        }),
        _ => throw new ArgumentException(set),
    };
}
