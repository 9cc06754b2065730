using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Cpu.Amx;
using Kimi.Mooncake.Kernels.Cpu.Int8;
using Kimi.Mooncake.Kernels.Reference;

namespace Kimi.Mooncake.Kernels.Tests.Amx;

/// <summary>Products with interpreted tile routines: the definition's bits, for all types and remainders.</summary>
internal sealed unsafe class AmxInt8Tests
{
    private static IEnumerable<TensorType> Types => Int8WeightTests.Types;

    [Test]
    public void SelfTest_InterpretedTiles_AgreesWithThePortableKernel() =>
        Assert.That(AmxSelfTest.Run(Interpreted), Is.Null);

    [Test]
    public void SelfTest_InterpretedVectors_AgreesWithThePortableKernel([Range(1, 6)] int rowsAtOnce) => Assert.That(
        AmxSelfTest.Run(format => new InterpretedInt8(format, rowsAtOnce), rowsAtOnce, 2 * rowsAtOnce, 13), Is.Null);

    [Test]
    public void SelfTest_GeneratedVectors_AgreesWithThePortableKernel()
    {
        if (!InstructionPaths.IsSupported(InstructionPath.Avx512))
        {
            Assert.Ignore("skipped: this machine has no AVX-512 VNNI and BF16");
        }

        Assert.That(AmxSelfTest.Run(GeneratedInt8.For), Is.Null);
    }

    [Test]
    public void Multiply_EveryType_IsTheDefinitionsBits(
        [ValueSource(nameof(Types))] TensorType type, [Values(1, 7, 8, 16, 23, 90)] int rows)
    {
        // Arrange: two runs of inputs, and a last panel with fewer outputs than others.
        using var tensors = new TestTensors(rows);
        const int Outputs = 40;
        const int Columns = 768;
        var data = tensors.Stored(type, Outputs, Columns);
        var x = tensors.Matrix(rows, Columns);
        var expected = tensors.Matrix(rows, Outputs);
        var actual = tensors.Matrix(rows, Outputs);
        using var kernels = new CpuKernels(new CpuOptions { ThreadCount = 1 });
        using var weight = new Int8Weight(data, Interpreted);

        // Act
        kernels.MatMul(x.All, weight, actual.All);
        QuantizedProducts.Multiply(x.All, data, expected.All);

        // Assert
        Assert.That(Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1));
    }

    private static AmxInt8 Interpreted(TileFormat format) =>
        new(format, new InterpretedAmxCode(format.Kind).Call, new PortableInt8(format));
}
