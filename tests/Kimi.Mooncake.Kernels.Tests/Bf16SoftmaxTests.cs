using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Cpu.Bf16;
using Kimi.Mooncake.Kernels.Reference;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>The softmax over tiles with bfloat16 weights: close to the formula, the same bits on every path.</summary>
internal sealed unsafe class Bf16SoftmaxTests
{
    private const int Rows = 13;
    private const int ValueCount = 48;
    private const int Tiles = 3;
    private const float Scale = 1.3f;

    public static IEnumerable<InstructionPath> Paths =>
        Enum.GetValues<InstructionPath>().Where(InstructionPaths.IsSupported);

    [Test]
    public void Advance_TileAfterTile_IsTheFormulaWithinRounding(
        [ValueSource(nameof(Paths))] InstructionPath path, [Values(1, 20, 300)] float magnitude)
    {
        using var tensors = new TestTensors(3);
        using var state = new State();
        var scores = Scores(tensors, magnitude, 64);

        state.Advance(path, scores[0], 64);

        for (var row = 0; row < Rows; row++)
        {
            var exact = scores[0].All.Row(row).ToArray().Select(score => score * (double)Scale).ToArray();
            var max = exact.Max();
            Assert.That(state.Maxima.All.Row(0)[row], Is.EqualTo(max).Within(Math.Abs(max) * 1e-6));
            var expected = exact.Select(value => Math.Pow(2, value - max)).ToArray();
            Assert.That(state.Sums.All.Row(0)[row], Is.EqualTo(expected.Sum()).Within(1e-4 * expected.Sum()));
            for (var i = 0; i < expected.Length; i++)
            {
                var tolerance = (0.0045 * expected[i]) + 1e-37;
                Assert.That(Bf16Chain.Widen(state.Weight(row, i)), Is.EqualTo(expected[i]).Within(tolerance));
            }
        }
    }

    [Test]
    public void Advance_EveryPath_SameBits(
        [ValueSource(nameof(Paths))] InstructionPath path, [Values(0, 1, 20, 300, 1e12f)] float magnitude,
        [Values(32, 64, 96, 512)] int width)
    {
        // Arrange: hidden keys, rows that are all alike, weights too small to be told from zero.
        using var tensors = new TestTensors(4);
        var tiles = Scores(tensors, magnitude, width);
        using var expected = new State();
        using var actual = new State();

        foreach (var tile in tiles)
        {
            for (var row = 0; row < Rows; row++)
            {
                tile.All.Row(row)[(1 + (row * width / Rows))..].Fill(float.NegativeInfinity);
            }

            // Act
            expected.Advance(InstructionPath.Portable, tile, width);
            actual.Advance(path, tile, width);

            // Assert: a maximum of zeros may have either sign, which nothing shows.
            Assert.That(actual.Maxima.All.Row(0).ToArray(), Is.EqualTo(expected.Maxima.All.Row(0).ToArray()));
            Assert.That(Closeness.FirstDifferentRow(actual.Sums.All, expected.Sums.All), Is.EqualTo(-1));
            Assert.That(Closeness.FirstDifferentRow(actual.Values.All, expected.Values.All), Is.EqualTo(-1));
            for (var i = 0; i < Rows * width; i++)
            {
                var (row, column) = Math.DivRem(i, width);
                Assert.That(
                    Bf16Chain.Widen(actual.Weight(row, column)),
                    Is.EqualTo(Bf16Chain.Widen(expected.Weight(row, column))));
            }
        }
    }

    [Test]
    public void Advance_WeightsAboutTheLeastNormal_SameBits([ValueSource(nameof(Paths))] InstructionPath path)
    {
        const int Width = 512;
        using var tensors = new TestTensors(6);
        using var expected = new State();
        using var actual = new State();
        var scores = tensors.Matrix(Rows, Width);
        for (var row = 0; row < Rows; row++)
        {
            for (var i = 0; i < Width; i++)
            {
                scores.All.Row(row)[i] = i == 0 ? 0 : -(126 + ((i - 256) * 4e-5f)) / Scale;
            }
        }

        expected.Advance(InstructionPath.Portable, scores, Width);
        actual.Advance(path, scores, Width);

        var weights = Enumerable.Range(0, Width).Select(i => actual.Weight(3, i)).ToArray();
        Assert.That(weights, Is.EqualTo(Enumerable.Range(0, Width).Select(i => expected.Weight(3, i))));
        Assert.That(weights, Has.Some.EqualTo((ushort)0).And.Some.EqualTo((ushort)0x80), "both sides of the limit");
    }

    private static Matrix[] Scores(TestTensors tensors, float magnitude, int width) =>
        [.. Enumerable.Range(0, Tiles).Select(_ => tensors.Matrix(Rows, width, magnitude))];

    /// <summary>What rows carry from tile to tile.</summary>
    private sealed class State : IDisposable
    {
        private Matrix _weights = new(1, 1);

        internal State()
        {
            Maxima.All.Row(0).Fill(float.NegativeInfinity);
            for (var row = 0; row < Rows; row++)
            {
                Values.All.Row(row).Fill(row + 1);
            }
        }

        internal Matrix Maxima { get; } = new(1, Rows);

        internal Matrix Sums { get; } = new(1, Rows);

        internal Matrix Values { get; } = new(Rows, ValueCount);

        internal void Advance(InstructionPath path, Matrix scores, int width)
        {
            _weights.Dispose();
            _weights = new Matrix(Rows, width);
            for (var row = 0; row < Rows; row++)
            {
                scores.All.Row(row).CopyTo(_weights.All.Row(row));
            }

            new Bf16Kernels(path).Advance(new Bf16SoftmaxRows
            {
                Scores = _weights.All.Data,
                ScoreStrideBytes = _weights.Stride * sizeof(float),
                Rows = Rows,
                ScoreBytes = width * sizeof(float),
                Maxima = Maxima.All.Data,
                Sums = Sums.All.Data,
                Values = Values.All.Data,
                ValueStrideBytes = Values.Stride * sizeof(float),
                ValueBytes = Values.Columns * sizeof(float),
                Scale = Scale,
            });
        }

        internal ushort Weight(int row, int column) =>
            ((ushort*)(_weights.All.Data + (row * _weights.Stride)))[column];

        public void Dispose()
        {
            _weights.Dispose();
            Maxima.Dispose();
            Sums.Dispose();
            Values.Dispose();
        }
    }
}
