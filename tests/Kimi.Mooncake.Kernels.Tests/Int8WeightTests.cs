using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Cpu.Int8;
using Kimi.Mooncake.Kernels.Reference;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>Products of bytes: every path and type gives the bits of the definition, whatever the shape.</summary>
internal sealed class Int8WeightTests
{
    // Inputs are rounded to 8 bits, a scale for each 32.
    private const double MedianErrorMax = 0.01;
    private const float HugeInput = 3e38f;
    private const float TinyInput = 1e-38f;

    public static IEnumerable<TensorType> Types =>
        Enum.GetValues<TensorType>().Where(type => Int8Weight.Supports(type));

    public static IEnumerable<InstructionPath> Paths =>
        Enum.GetValues<InstructionPath>().Where(InstructionPaths.IsSupported);

    [Test]
    public void Pack_EveryType_TakesBytesWhereBlocksAreIntegers([Values] TensorType type)
    {
        using var tensors = new TestTensors(1);
        using var kernels = Kernels(InstructionPath.Portable);
        using var weight = kernels.Pack(tensors.Stored(type, 3, 256));

        Assert.That(
            weight is Int8Weight,
            Is.EqualTo(type is not (TensorType.F32 or TensorType.F16 or TensorType.BF16 or TensorType.F8E4M3
                or TensorType.Q2_K or TensorType.Q3_K)));
    }

    [Test]
    public void Read_EveryBlock_GivesTheStoredValues([ValueSource(nameof(Types))] TensorType type)
    {
        using var tensors = new TestTensors(2);
        var data = tensors.Stored(type, 9, 512);
        var values = new float[512];
        var codes = new int[QuantizedBlocks.Values];

        for (var row = 0; row < data.Rows; row++)
        {
            data.DecodeByDefinition(row, values);
            for (var i = 0; i < values.Length; i++)
            {
                var (lower, upper, minimum) = QuantizedBlocks.Read(data, row, i / codes.Length, codes);
                var scale = i % codes.Length < codes.Length / 2 ? lower : upper;
                Assert.That((scale * codes[i % codes.Length]) - minimum, Is.EqualTo(values[i]), $"{row}, {i}");
            }
        }
    }

    [Test]
    public void MatMul_EveryTypeAndPath_IsTheDefinitionsBits(
        [ValueSource(nameof(Types))] TensorType type,
        [ValueSource(nameof(Paths))] InstructionPath path,
        [Values(1, 3)] int threads)
    {
        // Arrange: every number of rows that kernels take at once and more, a last panel that is narrower.
        using var tensors = new TestTensors(3);
        using var kernels = Kernels(path, threads);
        foreach (var (rows, columns, outputs) in new[]
        {
            (1, 256, 1), (2, 768, 31), (3, 512, 32), (4, 1280, 75), (5, 256, 64), (6, 256, 17), (7, 1024, 33),
            (13, 256, 65), (70, 512, 40),
        })
        {
            var data = tensors.Stored(type, outputs + 5, columns).Slice(5, outputs);
            var x = tensors.Matrix(rows, columns);
            var (actual, expected) = (tensors.Matrix(rows, outputs), tensors.Matrix(rows, outputs));
            using var weight = kernels.Pack(data);

            // Act
            kernels.MatMul(x.All, weight, actual.All);
            QuantizedProducts.Multiply(x.All, data, expected.All);

            // Assert
            Assert.That(
                Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1),
                $"{rows} x {columns} x {outputs}");
        }
    }

    [Test]
    public void MatMul_RandomShapes_IsTheDefinitionsBits(
        [Range(1, 40)] int seed, [ValueSource(nameof(Paths))] InstructionPath path)
    {
        using var tensors = new TestTensors(seed);
        using var kernels = Kernels(path);
        var type = Types.ElementAt(seed % Types.Count());
        var columns = TensorTypes.BlockValues(type) * tensors.Next(1, TensorTypes.BlockValues(type) > 32 ? 9 : 70);
        var (rows, outputs) = (tensors.Next(1, 20), tensors.Next(1, 100));
        var data = tensors.Stored(type, outputs, columns);
        var x = tensors.Matrix(rows, columns, tensors.Next(1, 1000));
        var (actual, expected) = (tensors.Matrix(rows, outputs), tensors.Matrix(rows, outputs));
        using var weight = kernels.Pack(data);

        kernels.MatMul(x.All, weight, actual.All);
        QuantizedProducts.Multiply(x.All, data, expected.All);

        Assert.That(
            Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1),
            $"seed {seed}: {type}, {rows} x {columns} x {outputs}");
    }

    [Test]
    public void MatMul_ExtremeInputs_IsTheDefinitionsBits(
        [ValueSource(nameof(Types))] TensorType type, [ValueSource(nameof(Paths))] InstructionPath path)
    {
        // Arrange: zeros, constants of either sign (all bytes are 127 or -127), and the ends of the range.
        using var tensors = new TestTensors(4);
        using var kernels = Kernels(path);
        const int Columns = 256;
        var data = tensors.Stored(type, 40, Columns);
        float[] inputs =
        [
            0, -0f, 1, -1, HugeInput, -HugeInput, TinyInput, float.Epsilon, 1e-30f, float.NaN, float.PositiveInfinity,
        ];
        var x = tensors.Matrix(inputs.Length + 1, Columns);
        for (var row = 0; row < inputs.Length; row++)
        {
            x.All.Row(row).Fill(inputs[row]);
        }

        x.All.Row(inputs.Length)[7] = HugeInput;
        var (actual, expected) = (tensors.Matrix(x.Rows, 40), tensors.Matrix(x.Rows, 40));
        using var weight = kernels.Pack(data);

        // Act
        kernels.MatMul(x.All, weight, actual.All);
        QuantizedProducts.Multiply(x.All, data, expected.All);

        // Assert: where the chain overflows, both are no number, and which one is the processor's choice.
        for (var row = 0; row < x.Rows; row++)
        {
            for (var i = 0; i < 40; i++)
            {
                var (a, e) = (actual.All.Row(row)[i], expected.All.Row(row)[i]);
                Assert.That(
                    BitConverter.SingleToUInt32Bits(a) == BitConverter.SingleToUInt32Bits(e)
                        || (float.IsNaN(a) && float.IsNaN(e)),
                    $"row {row}, output {i}: {a}, expected {e}");
            }
        }
    }

    [Test]
    public void MatMul_LargestBytes_AddUpExactly(
        [ValueSource(nameof(Paths))] InstructionPath path, [Values(127, -128)] int code)
    {
        // Arrange: weights of the greatest and the least code (255 and 0 unsigned) with scale 1.
        using var buffer = new NativeBuffer(32 * 34);
        for (var output = 0; output < 32; output++)
        {
            var block = buffer.Span(output * 34, 34);
            block.Fill((byte)(sbyte)code);
            BitConverter.TryWriteBytes(block, (Half)1);
        }

        using var tensors = new TestTensors(5);
        var x = tensors.Matrix(2, 32);
        var y = tensors.Matrix(2, 32);
        x.All.Row(0).Fill(127);
        x.All.Row(1).Fill(-127);
        using var kernels = Kernels(path);
        using var weight = kernels.Pack(buffer.Tensor(0, TensorType.Q8_0, 32, 32));

        // Act
        kernels.MatMul(x.All, weight, y.All);

        // Assert
        Assert.That(y.All.Row(0).ToArray(), Is.All.EqualTo(32f * 127 * code));
        Assert.That(y.All.Row(1).ToArray(), Is.All.EqualTo(-32f * 127 * code));
    }

    [Test]
    public void MatMul_AnyRowsTogether_SameBits(
        [ValueSource(nameof(Types))] TensorType type,
        [ValueSource(nameof(Paths))] InstructionPath path,
        [Values(1, 3)] int threads)
    {
        using var tensors = new TestTensors(6);
        const int Rows = 530;
        var data = tensors.Stored(type, 70, 512);
        var x = tensors.Matrix(Rows, 512);
        var (whole, parts) = (tensors.Matrix(Rows, 70), tensors.Matrix(Rows, 70));
        using var kernels = Kernels(path, threads);
        using var oneThread = Kernels(path);
        using var weight = kernels.Pack(data);
        using var wholeWeight = oneThread.Pack(data);

        oneThread.MatMul(x.All, wholeWeight, whole.All);
        for (int first = 0, rows = 1; first < Rows; first += rows, rows = (rows * 2 % 97) + 1)
        {
            var count = Math.Min(rows, Rows - first);
            kernels.MatMul(x.All.Slice(first, count), weight, parts.All.Slice(first, count));
        }

        Assert.That(Closeness.FirstDifferentRow(parts.All, whole.All), Is.EqualTo(-1));
    }

    [Test]
    public void MatMul_Int4WithScalesOfAnyType_IsTheDefinitionsBits(
        [Values(TensorType.F32, TensorType.F16, TensorType.BF16)] TensorType type,
        [ValueSource(nameof(Paths))] InstructionPath path,
        [Values(32, 224, 256, 288, 480, 512, 544, 736)] int columns)
    {
        // Arrange: scales are read 8 at a time where there are so many, of whole panels and of one that is not.
        using var tensors = new TestTensors(10);
        using var kernels = Kernels(path);
        const int Skipped = 3;
        foreach (var (rows, outputs) in new[] { (1, 64), (3, 50), (8, 96), (9, 32), (24, 70), (25, 64) })
        {
            var stored = Skipped + outputs;
            using var words = new NativeBuffer(stored * columns / 2);
            for (var i = 0; i < words.SizeBytes; i++)
            {
                words.Span(i, 1)[0] = (byte)tensors.Next(0, 255);
            }

            var data = TensorData.PackedInt4(
                words.Tensor(0, TensorType.Int4Group32, stored, columns), tensors.Stored(type, stored, columns / 32))
                .Slice(Skipped, outputs);
            var x = tensors.Matrix(rows, columns);
            var (actual, expected) = (tensors.Matrix(rows, outputs), tensors.Matrix(rows, outputs));
            using var weight = kernels.Pack(data);

            // Act
            kernels.MatMul(x.All, weight, actual.All);
            QuantizedProducts.Multiply(x.All, data, expected.All);

            // Assert
            Assert.That(
                Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1), $"{rows} rows, {outputs}");
        }
    }

    [Test]
    public void MatMul_NormalInputs_IsCloseToTheExactProduct([ValueSource(nameof(Types))] TensorType type)
    {
        using var tensors = new TestTensors(8);
        const int Columns = 2048;
        const int Outputs = 64;
        var data = tensors.Stored(type, Outputs, Columns);
        var x = tensors.Matrix(4, Columns);
        var (actual, exact) = (tensors.Matrix(4, Outputs), tensors.Matrix(4, Outputs));
        using var kernels = Kernels(InstructionPath.Portable);
        using var reference = new ReferenceKernels();
        using var weight = kernels.Pack(data);
        using var referenceWeight = reference.Pack(data);

        kernels.MatMul(x.All, weight, actual.All);
        reference.MatMul(x.All, referenceWeight, exact.All);

        var errors = Enumerable.Range(0, 4)
            .SelectMany(row => actual.All.Row(row).ToArray().Zip(exact.All.Row(row).ToArray()))
            .Select(pair => Math.Abs((double)pair.First - pair.Second) / Math.Abs(pair.Second))
            .Order().ToArray();
        TestContext.Out.WriteLine($"{type}: median relative error {errors[errors.Length / 2]:e2}");
        Assert.That(errors[errors.Length / 2], Is.LessThan(MedianErrorMax));
    }

    [Test]
    [NonParallelizable]
    public void MatMul_AfterWarmUp_DoesNotAllocate([ValueSource(nameof(Paths))] InstructionPath path)
    {
        using var tensors = new TestTensors(9);
        using var kernels = Kernels(path, 2);
        var weights = Types.Select(type => tensors.Own(kernels.Pack(tensors.Stored(type, 70, 768)))).ToArray();
        var (x, y) = (tensors.Matrix(9, 768), tensors.Matrix(9, 70));
        void Step()
        {
            foreach (var weight in weights)
            {
                kernels.MatMul(x.All, weight, y.All);
                kernels.MatMul(x.View(1), weight, y.View(1));
            }
        }

        for (var i = 0; i < 100; i++)
        {
            Step();
        }

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 60; i++)
        {
            Step();
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    private static CpuKernels Kernels(InstructionPath path, int threads = 1) =>
        new(new CpuOptions { ThreadCount = threads, Arithmetic = CpuArithmetic.Fast, Path = path });
}
