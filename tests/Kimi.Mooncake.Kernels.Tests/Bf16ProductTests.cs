using System.Runtime.InteropServices;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Cpu.Bf16;
using Kimi.Mooncake.Kernels.Reference;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>Products of bfloat16 are the definition's bits on every path, for any rows, columns and numbers.</summary>
internal sealed unsafe class Bf16ProductTests
{
    private const int Panel = PanelWeight.PanelColumns;
    private const double RelativeErrorMax = 0.01;
    private const double PreciseErrorMax = 2e-5;

    public static IEnumerable<InstructionPath> Paths =>
        Enum.GetValues<InstructionPath>().Where(InstructionPaths.IsSupported);

    [Test]
    public void Multiply_AnyRowsAndPairs_IsTheDefinitionsChain(
        [ValueSource(nameof(Paths))] InstructionPath path, [Range(1, 26)] int rows, [Values] bool accumulate,
        [Values] bool small)
    {
        // Arrange: small numbers have products and sums below the smallest normal one.
        using var tensors = new TestTensors(rows);
        var k = 2 * tensors.Next(1, 40);
        var (a, b) = (Halves(tensors, rows * k, small), Halves(tensors, Panel * k, small));
        var start = tensors.Matrix(rows, Panel, small ? 1e-37f : 1);
        var actual = tensors.Copy(start);
        var panel = new uint[k / 2 * Panel];
        fixed (ushort* left = a, right = b)
        fixed (uint* pairs = panel)
        {
            // Act
            Bf16Panels.FromRows(right, k, Panel, k, 0, pairs);
            new Bf16Kernels(path).Multiply(
                left, k, rows, pairs, k / 2, actual.All.Data, actual.Stride, accumulate);
        }

        // Assert
        for (var row = 0; row < rows; row++)
        {
            for (var column = 0; column < Panel; column++)
            {
                var expected = Bf16Chain.Sum(
                    a.AsSpan(row * k, k), b.AsSpan(column * k, k), accumulate ? start.All.Row(row)[column] : 0);
                Assert.That(
                    BitConverter.SingleToInt32Bits(actual.All.Row(row)[column]),
                    Is.EqualTo(BitConverter.SingleToInt32Bits(expected)), $"{row}, {column}, k {k}");
            }
        }
    }

    [Test]
    public void FromRows_AnyRowsAndValues_AreColumnsOfPairs([Range(1, 33)] int seed)
    {
        using var tensors = new TestTensors(seed);
        var (count, k) = (seed > 30 ? Panel : seed, tensors.Next(1, 150));
        var rows = Halves(tensors, count * k, false);
        var panel = Enumerable.Repeat(uint.MaxValue, (k + 1) / 2 * Panel).ToArray();

        fixed (ushort* from = rows)
        fixed (uint* to = panel)
        {
            Bf16Panels.FromRows(from, k, count, k, 0, to);
        }

        ushort At(int row, int i) => row < count && i < k ? rows[(row * k) + i] : (ushort)0;
        for (var i = 0; i < panel.Length; i++)
        {
            var (pair, row) = Math.DivRem(i, Panel);
            Assert.That(panel[i], Is.EqualTo(At(row, 2 * pair) | ((uint)At(row, (2 * pair) + 1) << 16)));
        }
    }

    [Test]
    public void MatMul_RandomShapes_EveryPathIsTheDefinitionsChain([Range(1, 40)] int seed)
    {
        var isPrecise = seed > 30;
        using var tensors = new TestTensors(seed);
        var rows = tensors.Next(1, seed % 2 == 0 ? 9 : 40);
        var (input, output) = (tensors.Next(1, 700), tensors.Next(1, 100));
        var stored = Stored(tensors, output, input);
        var x = tensors.Matrix(rows, input);
        var y = tensors.Matrix(rows, output);
        foreach (var path in Paths)
        {
            using var kernels = Fast(path, 2);
            using var weight = kernels.Pack(stored, isPrecise);

            kernels.MatMul(x.All, weight, y.All);

            Assert.That(weight, Is.TypeOf(isPrecise ? typeof(Bf16PartsWeight) : typeof(Bf16Weight)));
            for (var row = 0; row < rows; row++)
            {
                var inputs = x.All.Row(row).ToArray();
                var expected = Products(inputs.Select(Bf16Chain.Round), stored);
                if (isPrecise)
                {
                    var rest = Products(inputs.Select(Bf16Chain.RoundRest), stored);
                    expected = [.. expected.Zip(rest, (a, b) => a + b)];
                }

                Assert.That(
                    Closeness.SameBits(y.All.Row(row), expected),
                    $"seed {seed}: {path}, row {row} of {rows} x {input}");
            }
        }
    }

    [Test]
    public void MatMul_RowByRowOrTogether_SameBitsCloseToExact(
        [ValueSource(nameof(Paths))] InstructionPath path, [Values(1, 6, 13, 300)] int chunk,
        [Values] bool isPrecise)
    {
        using var tensors = new TestTensors(7);
        const int Rows = 600;
        var stored = Stored(tensors, 100, 500);
        var x = tensors.Matrix(Rows, 500);
        var (whole, parts, exact) = (
            tensors.Matrix(Rows, 100), tensors.Matrix(Rows, 100), tensors.Matrix(Rows, 100));
        using var kernels = Fast(path, 3);
        using var exactKernels = new CpuKernels(1);
        using var weight = kernels.Pack(stored, isPrecise);
        using var exactWeight = exactKernels.Pack(stored);

        kernels.MatMul(x.All, weight, whole.All);
        exactKernels.MatMul(x.All, exactWeight, exact.All);
        for (var first = 0; first < Rows; first += chunk)
        {
            var rows = Math.Min(chunk, Rows - first);
            kernels.MatMul(x.All.Slice(first, rows), weight, parts.All.Slice(first, rows));
        }

        Assert.That(Closeness.FirstDifferentRow(whole.All, parts.All), Is.EqualTo(-1));
        var errorMax = isPrecise ? PreciseErrorMax : RelativeErrorMax;
        Assert.That(Closeness.RelativeError(whole.All, exact.All), Is.LessThan(errorMax));
    }

    [Test]
    public void MatMul_PreciseInputsThatAreNoNumbersOrTooSmall_AreTakenAsRounded(
        [ValueSource(nameof(Paths))] InstructionPath path,
        [Values(float.PositiveInfinity, float.NegativeInfinity, float.NaN, float.MaxValue, 1e-40f)] float value)
    {
        using var tensors = new TestTensors(3);
        var stored = Stored(tensors, 40, 64);
        var x = tensors.Matrix(1, 64);
        x.All.Row(0)[5] = value;
        var y = tensors.Matrix(1, 40);
        using var kernels = Fast(path, 1);
        using var weight = kernels.Pack(stored, isPrecise: true);

        kernels.MatMul(x.All, weight, y.All);

        var inputs = x.All.Row(0).ToArray();
        var rest = Products(inputs.Select(Bf16Chain.RoundRest), stored);
        var expected = Products(inputs.Select(Bf16Chain.Round), stored).Zip(rest, (a, b) => a + b).ToArray();
        Assert.That(rest, Has.All.Matches<float>(float.IsFinite));
        Assert.That(y.All.Row(0).ToArray(), Is.EqualTo(expected));
    }

    private static float[] Products(IEnumerable<ushort> left, TensorData stored)
    {
        var values = left.ToArray();
        return [.. Enumerable.Range(0, (int)stored.Rows).Select(
            n => Bf16Chain.Sum(values, MemoryMarshal.Cast<byte, ushort>(stored.RowBytes(n))))];
    }

    private static CpuKernels Fast(InstructionPath path, int threads) => new(
        new CpuOptions { ThreadCount = threads, Arithmetic = CpuArithmetic.Fast, Path = path });

    private static TensorData Stored(TestTensors tensors, int rows, int columns)
    {
        var values = Halves(tensors, rows * columns, false);
        var buffer = tensors.Own(new NativeBuffer((long)values.Length * sizeof(ushort)));
        MemoryMarshal.AsBytes(values.AsSpan()).CopyTo(buffer.Span(0, values.Length * sizeof(ushort)));
        return buffer.Tensor(0, TensorType.BF16, rows, columns);
    }

    /// <summary>Numbers up to 1; small ones are up to 1e-19, zeros and denormal ones among them.</summary>
    private static ushort[] Halves(TestTensors tensors, int count, bool small)
    {
        var values = new ushort[count];
        foreach (ref var value in values.AsSpan())
        {
            var kind = small ? tensors.Next(0, 9) : 9;
            value = kind switch
            {
                0 => 0,
                1 => (ushort)tensors.Next(1, 0x7f),
                2 => 0x8000,
                _ => (ushort)(BitConverter.SingleToUInt32Bits(tensors.NextValue() * (small ? 1e-19f : 1)) >> 16),
            };
        }

        return values;
    }
}
