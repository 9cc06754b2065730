using System.Runtime.InteropServices;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Cpu.Int8;
using Kimi.Mooncake.Kernels.Reference;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>Products of as many rows as are multiplied without tiles, and of one more.</summary>
internal sealed unsafe class Int8FewRowsTests
{
    [Test]
    public void Multiply_FewRowsOfMany_IsTheDefinitionsBitsAndWritesNothingElse(
        [ValueSource(typeof(Int8WeightTests), nameof(Int8WeightTests.Types))] TensorType type,
        [ValueSource(typeof(Int8WeightTests), nameof(Int8WeightTests.Paths))] InstructionPath path,
        [Values(1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 24, 25)] int rows)
    {
        // Arrange: the second panel and the third, of which rows behind the first ones are wanted.
        const int Outputs = 107;
        const int FirstRow = 2;
        const int Stride = 77;
        const float Untouched = 12345;
        using var tensors = new TestTensors(rows);
        foreach (var blocks in new[] { 1, 2, 5, 9 })
        {
            var data = tensors.Stored(type, Outputs, blocks * TensorTypes.BlockValues(type));
            var x = tensors.Matrix(rows + 3, data.Columns);
            var expected = tensors.Matrix(rows, Outputs);
            var y = new float[rows * Stride];
            Array.Fill(y, Untouched);
            using var weight = new Int8Weight(data, path);
            using var inputs = new ActivationRows();
            using var scratch = new NativeBuffer(weight.ScratchBytes);
            inputs.Begin(x.All, weight.Form);
            for (var row = 0; row < x.Rows; row++)
            {
                inputs.EncodeRow(row);
            }

            // Act
            fixed (float* target = y)
            {
                weight.Multiply(1, 2, inputs, FirstRow, rows, target, Stride, scratch.Pointer);
            }

            QuantizedProducts.Multiply(x.All.Slice(FirstRow, rows), data, expected.All);

            // Assert
            for (var row = 0; row < rows; row++)
            {
                var actual = y.AsSpan(row * Stride, Stride);
                Assert.That(
                    MemoryMarshal.AsBytes(actual[..64])
                        .SequenceEqual(MemoryMarshal.AsBytes(expected.All.Row(row).Slice(32, 64))),
                    $"{blocks} blocks, row {row}");
                Assert.That(actual[64..].ToArray(), Is.All.EqualTo(Untouched));
            }
        }
    }
}
