using System.Runtime.InteropServices;
using FsCheck;
using FsCheck.Fluent;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Cpu.Bf16;
using Kimi.Mooncake.Kernels.Tests.Experts;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>Bfloat16 weights that are repacked into 11 bits keep every bit, and products with them do.</summary>
internal sealed unsafe class Bf16NarrowTests
{
    private const int Panel = PanelWeight.PanelColumns;
    private const long Room = 3 << 20;

    private static readonly Bf16Spread[] Repackable =
        [Bf16Spread.Normal, Bf16Spread.Even, Bf16Spread.Wide, Bf16Spread.Zeros];

    [SetUp]
    public void NeedsTheInstructions()
    {
        if (!NarrowBf16Format.IsSupported(InstructionPaths.Best))
        {
            Assert.Ignore("skipped: needs AVX512-BF16 and AVX512-VBMI2");
        }
    }

    [Test]
    public void Encode_AnyValues_IsReadBackByDefinitionAndByTheRoutine()
    {
        Prop.ForAll(Gen.Choose(0, 1 << 30).ToArbitrary(), seed =>
        {
            using var tensors = new TestTensors(seed);
            var spread = (Bf16Spread)tensors.Next(0, (int)Bf16Spread.Zeros);
            var (outputs, blocks) = (tensors.Next(Panel, 3 * Panel), tensors.Next(1, 20));
            var inputs = blocks * NarrowBf16Format.BlockInputs;
            var stored = Bf16Weights.Random(tensors, outputs, inputs, spread, out var values);
            for (var panel = 0; panel < PanelWeight.Panels(outputs); panel++)
            {
                var expected = new ushort[Panel * inputs];
                var first = panel * Panel * inputs;
                values.AsSpan(first, Math.Min(expected.Length, values.Length - first)).CopyTo(expected);

                var encoded = Encoded(tensors, stored, panel);

                var decoded = Bf16NarrowOracle.Decode(encoded.Span(0, (int)encoded.SizeBytes), inputs);
                Assert.That(decoded.AsSpan().SequenceEqual(expected), Is.True, $"seed {seed}, {spread}");
                AssertRuns(encoded.Pointer, expected, inputs, blocks);
            }
        }).QuickCheckThrowOnFailure();
    }

    [Test]
    public void MultiplyNarrow_MostExponentsWrittenOut_IsTheProductOfPairs([Range(1, 8)] int rows)
    {
        // Arrange: as many blocks as are fetched ahead, and more.
        using var tensors = new TestTensors(rows);
        const int Inputs = 700 / NarrowBf16Format.BlockInputs * NarrowBf16Format.BlockInputs;
        var stored = Bf16Weights.Random(tensors, Panel, Inputs, Bf16Spread.AnyBits, out var values);
        foreach (ref var value in values.AsSpan())
        {
            // Neither infinite nor no number, nor are sums.
            value &= 0xbfff;
        }

        MemoryMarshal.Cast<ushort, byte>(values).CopyTo(new Span<byte>(stored.At(0, 0), 2 * values.Length));
        var encoded = Encoded(tensors, stored, 0);
        var memory = new RepackMemory(Room);
        var piece = memory.TryTake(encoded.SizeBytes)!;
        encoded.Span(0, (int)encoded.SizeBytes).CopyTo(new Span<byte>(piece.Pointer, (int)encoded.SizeBytes));
        var kernels = new Bf16Kernels(InstructionPaths.Best);
        using var narrow = new NarrowBf16Weight(Panel, Inputs, piece, [0, encoded.SizeBytes], kernels);
        using var whole = new Bf16Weight(stored, kernels);
        using var x = new ActivationRows();
        x.Begin(tensors.Matrix(rows, Inputs).All, ActivationForms.Bf16);
        for (var row = 0; row < rows; row++)
        {
            x.EncodeRow(row);
        }

        var (expected, actual) = (tensors.Matrix(rows, Panel), tensors.Matrix(rows, Panel));
        using var scratch = new NativeBuffer(whole.ScratchBytes);

        // Act
        whole.Multiply(0, 1, x, 0, rows, expected.All.Data, expected.Stride, scratch.Pointer);
        narrow.Multiply(0, 1, x, 0, rows, actual.All.Data, actual.Stride, scratch.Pointer);

        // Assert
        Assert.That(encoded.SizeBytes, Is.GreaterThan(stored.StoredBytes));
        Assert.That(Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1));
    }

    [Test]
    public void MatMul_Repacked_HasTheBitsOfTheStoredWeight(
        [ValueSource(nameof(Repackable))] Bf16Spread spread, [Values] bool isPrecise)
    {
        using var tensors = new TestTensors((int)spread);
        using var storing = Kernels(0);
        using var repacking = Kernels(Room);
        foreach (var (outputs, inputs) in ((int, int)[])[(32, 64), (95, 176), (96, 560), (157, 1536)])
        {
            var weight = Bf16Weights.Random(tensors, outputs, inputs, spread, out _);
            using var stored = storing.Pack(weight, isPrecise);
            using var repacked = repacking.Pack(weight, isPrecise);
            Assert.That(repacking.RepackBytesLeft, Is.LessThan(Room), $"{outputs} x {inputs}");
            foreach (var rows in Enumerable.Range(1, 26).Append(64).Append(300))
            {
                var x = tensors.Matrix(rows, inputs);
                var (expected, actual) = (tensors.Matrix(rows, outputs), tensors.Matrix(rows, outputs));

                storing.MatMul(x.All, stored, expected.All);
                repacking.MatMul(x.All, repacked, actual.All);

                Assert.That(
                    Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1),
                    $"{rows} x {inputs} x {outputs}");
            }
        }
    }

    [Test]
    public void MixtureOfExperts_Repacked_HasTheBitsOfStoredWeights([Values(1, 3, 8, 40)] int rows)
    {
        using var tensors = new TestTensors(rows);
        using var storing = Kernels(0);
        using var repacking = Kernels(Room);
        TensorData Network(int outputs, int inputs) =>
            Bf16Weights.Random(tensors, outputs, inputs, Bf16Spread.Normal, out _);
        var networks = Enumerable.Range(0, 6)
            .Select(_ => (Gate: Network(64, 96), Up: Network(64, 96), Down: Network(96, 64))).ToArray();
        var x = tensors.Matrix(rows, 96);
        var (chosen, weights) = tensors.Choice(rows, 2, networks.Length - 1);

        Matrix Run(CpuKernels kernels)
        {
            var packed = networks.Select(network => new FeedForwardWeight(
                kernels.Pack(network.Gate), kernels.Pack(network.Up), kernels.Pack(network.Down))).ToArray();
            using var bank = new ExpertBank(packed[..^1], packed[^1]);
            var y = tensors.Own(new Matrix(rows, 96));
            kernels.MixtureOfExperts(x.All, bank, chosen, weights, y.All);
            return y;
        }

        var (expected, actual) = (Run(storing), Run(repacking));

        Assert.That(Closeness.FirstDifferentRow(actual.All, expected.All), Is.EqualTo(-1));
        Assert.That(repacking.RepackBytesLeft, Is.EqualTo(Room));
    }

    [Test]
    public void Attention_Repacked_HasTheBitsOfStoredProjections([Values(1, 9)] int rows)
    {
        using var tensors = new TestTensors(rows);
        var shape = new AttentionShape(3, 32, 16, 32, 64, 0.2f);
        var (pool, table) = tensors.Pool(shape, 200);
        var projections = AttentionProjections.FromSplit(
            shape, tensors.Rounded(TensorType.BF16, 3 * 64, 32), tensors.Rounded(TensorType.BF16, 3 * 32, 64));
        var queries = tensors.Matrix(rows, 3 * (32 + 16));
        var positions = Enumerable.Range(0, rows).Select(row => new DecodeRow(0, 200 - row)).ToArray();

        (Matrix Decoded, Matrix Prefilled, long Left) Run(long room)
        {
            using var kernels = Kernels(room);
            using var weight = kernels.PackAttention(projections);
            var (decoded, prefilled) = (tensors.Matrix(rows, 3 * 32), tensors.Matrix(rows, 3 * 32));
            kernels.DecodeAttention(weight, pool, 1, table, positions, queries.All, decoded.All);
            kernels.PrefillAttention(weight, pool, 1, table, 200 - rows, queries.All, prefilled.All);
            return (decoded, prefilled, kernels.RepackBytesLeft);
        }

        var (expected, actual) = (Run(0), Run(Room));

        Assert.That(actual.Left, Is.LessThan(Room));
        Assert.That(Closeness.FirstDifferentRow(actual.Decoded.All, expected.Decoded.All), Is.EqualTo(-1));
        Assert.That(Closeness.FirstDifferentRow(actual.Prefilled.All, expected.Prefilled.All), Is.EqualTo(-1));
    }

    [Test]
    public void Pack_WithRoom_TakesAThirdLessAndGivesItBack()
    {
        using var tensors = new TestTensors(1);
        using var kernels = Kernels(Room);
        var stored = Bf16Weights.Random(tensors, 256, 1024, Bf16Spread.Normal, out _);

        var weight = kernels.Pack(stored);

        Assert.That(weight, Is.TypeOf<NarrowBf16Weight>());
        Assert.That((double)(Room - kernels.RepackBytesLeft) / stored.StoredBytes, Is.InRange(0.68, 0.72));
        weight.Dispose();
        Assert.That(kernels.RepackBytesLeft, Is.EqualTo(Room));
    }

    [TestCase(64, 64, Bf16Spread.AnyBits, Room, TestName = "Pack_TooManyExponents_StaysAsStored")]
    [TestCase(64, 72, Bf16Spread.Normal, Room, TestName = "Pack_PartOfABlock_StaysAsStored")]
    [TestCase(31, 64, Bf16Spread.Normal, Room, TestName = "Pack_FewerOutputsThanAPanel_StaysAsStored")]
    [TestCase(64, 64, Bf16Spread.Normal, 5000L, TestName = "Pack_WithoutRoom_StaysAsStored")]
    [TestCase(64, 64, Bf16Spread.Even, 5800L, TestName = "Pack_RoomForLessThanAllOfIt_StaysAsStored")]
    public void Pack_OtherCases_StayAsStored(int outputs, int inputs, Bf16Spread spread, long room)
    {
        using var tensors = new TestTensors(2);
        using var kernels = Kernels(room);

        using var weight = kernels.Pack(Bf16Weights.Random(tensors, outputs, inputs, spread, out _));

        Assert.That(weight, Is.TypeOf<Bf16Weight>());
        Assert.That(kernels.RepackBytesLeft, Is.EqualTo(room));
    }

    [Test]
    public void Pack_OtherPath_StaysAsStored()
    {
        using var tensors = new TestTensors(3);
        using var kernels = Kernels(Room, InstructionPath.Portable);

        using var weight = kernels.Pack(Bf16Weights.Random(tensors, 64, 64, Bf16Spread.Normal, out _));

        Assert.That(weight, Is.TypeOf<Bf16Weight>());
    }

    [Test]
    [NonParallelizable]
    public void MatMul_AfterWarmUp_DoesNotAllocate([Values(1, 9, 40)] int rows)
    {
        using var tensors = new TestTensors(4);
        using var kernels = Kernels(Room);
        using var weight = kernels.Pack(Bf16Weights.Random(tensors, 96, 512, Bf16Spread.Normal, out _));
        var (x, y) = (tensors.Matrix(rows, 512), tensors.Matrix(rows, 96));
        void Steps()
        {
            for (var i = 0; i < 60; i++)
            {
                kernels.MatMul(x.All, weight, y.All);
            }
        }

        Steps();
        var before = GC.GetAllocatedBytesForCurrentThread();
        Steps();

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    private static CpuKernels Kernels(long room, InstructionPath? path = null) => new(new CpuOptions
    {
        ThreadCount = 2,
        PackBytesMax = 0,
        RepackBytesMax = room,
        Arithmetic = CpuArithmetic.Fast,
        Path = path ?? InstructionPaths.Best,
    });

    private static NativeBuffer Encoded(TestTensors tensors, TensorData stored, int panel)
    {
        var exponents = stackalloc byte[NarrowBf16Format.Groups * NarrowBf16Format.Codes];
        var written = NarrowBf16Encoder.Survey(stored, panel, exponents);
        var encoded = tensors.Own(new NativeBuffer(NarrowBf16Format.PanelBytes(stored.Columns, written)));
        using var scratch = new NativeBuffer(NarrowBf16Encoder.ScratchBytes);
        NarrowBf16Encoder.Encode(stored, panel, exponents, written, (uint*)scratch.Pointer, encoded.Pointer);
        return encoded;
    }

    /// <summary>Runs of blocks, one after another, are the panel of pairs of the values.</summary>
    private static void AssertRuns(byte* panel, ushort[] values, int inputs, int blocks)
    {
        var expected = new uint[Panel * inputs / 2];
        using var actual = new NativeBuffer(expected.Length * sizeof(uint));
        fixed (ushort* from = values)
        fixed (uint* to = expected)
        {
            Bf16Panels.FromRows(from, inputs, Panel, inputs, 0, to);
        }

        var kernels = new Bf16Kernels(InstructionPaths.Best);
        var run = new NarrowBf16Run
        {
            Panel = panel,
            Written = panel + NarrowBf16Format.HeaderBytes,
            Blocks = NarrowBf16Format.Blocks(panel),
            Target = (uint*)actual.Pointer,
        };
        for (var block = 0; block < blocks; block += (int)run.Count)
        {
            run.Count = Math.Min(7, blocks - block);
            run.Ahead = run.Blocks;
            kernels.MakeRun(ref run);
            run.Blocks += run.Count * NarrowBf16Format.BlockBytes;
            run.Target += run.Count * NarrowBf16Format.BlockInputs * Panel / 2;
        }

        Assert.That(
            MemoryMarshal.Cast<byte, uint>(actual.Span(0, (int)actual.SizeBytes)).SequenceEqual(expected), Is.True);
    }
}
