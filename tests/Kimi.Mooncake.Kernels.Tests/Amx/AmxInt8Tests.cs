using System.Runtime.InteropServices;
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
        var actual = tensors.Matrix(rows, 2 * WeightTile.Outputs);
        using var inputs = new ActivationRows();
        inputs.Begin(x.All, ActivationForms.Int8);
        for (var row = 0; row < rows; row++)
        {
            inputs.EncodeRow(row);
        }

        // Act
        Multiply(data, inputs, actual.All);
        QuantizedProducts.Multiply(x.All, data, expected.All);

        // Assert
        for (var row = 0; row < rows; row++)
        {
            Assert.That(Closeness.SameBits(actual.All.Row(row)[..Outputs], expected.All.Row(row)), $"row {row}");
        }
    }

    private static AmxInt8 Interpreted(TileFormat format) =>
        new(format, new InterpretedAmxCode(format.Kind).Call, new PortableInt8(format));

    private static void Multiply(in TensorData data, ActivationRows x, in MatrixView y)
    {
        var format = TileFormat.Of(data.Type)!.Value;
        var sums = format.Kind == TileKind.Halves ? 2 : 1;
        var kernel = Interpreted(format);
        var tile = (byte*)NativeMemory.AlignedAlloc(WeightTile.BytesMax + WeightTile.StagingBytes, 64);
        for (var panel = 0; panel * WeightTile.Outputs < data.Rows; panel++)
        {
            for (var block = 0; block < data.Columns / WeightTile.BlockValues; block += WeightTile.BlocksMax)
            {
                var blocks = Math.Min(WeightTile.BlocksMax, (data.Columns / WeightTile.BlockValues) - block);
                WeightTile.Decode(
                    data, panel, panel + 1, block, blocks, cold: false, tile, tile + WeightTile.BytesMax);
                kernel.Multiply(new Int8Run
                {
                    Tile = tile,
                    X = x.Int8 + (block * WeightTile.BlockValues),
                    XStride = x.Int8Stride,
                    Scales = x.Scales + block,
                    Sums = (sums == 2 ? x.NegatedHalfSums : x.NegatedSums) + (block * sums),
                    ScaledSums = x.ScaledSums + block,
                    BlockStride = (long)x.BlockStride * sizeof(float),
                    Y = y.Data + (panel * WeightTile.Outputs),
                    YStride = (long)y.Stride * sizeof(float),
                    Blocks = blocks,
                    Rows = x.Rows,
                    Accumulate = block,
                });
            }
        }

        NativeMemory.AlignedFree(tile);
    }
}
