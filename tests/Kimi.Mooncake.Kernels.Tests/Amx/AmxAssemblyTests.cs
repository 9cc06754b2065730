using System.Runtime.InteropServices;
using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu.Amx;
using Kimi.Mooncake.Kernels.Cpu.Int8;

namespace Kimi.Mooncake.Kernels.Tests.Amx;

/// <summary>The routine, interpreted, against the chain that it stands for, value by value.</summary>
internal sealed unsafe class AmxAssemblyTests
{
    private const int Lanes = 16;

    [Test]
    public void Routine_AnyRows_IsOneChainForEachElement(
        [Range(1, 16)] int rows, [Values(16, 32)] int depth, [Values] bool mins)
    {
        var code = new Routine(Packed(rows, depth, mins));
        for (var steps = 1; steps <= 5; steps++)
        {
            using var operands = new AmxOperands(code.Shape, steps, rowTiles: 1, seed: (100 * rows) + steps);
            var expected = operands.Expected();

            code.Run(operands);

            Assert.That(operands.SameAs(expected), $"{rows} rows, {steps} steps of {depth}, mins {mins}");
        }
    }

    [Test]
    public void Routine_SeveralTilesOfRows_AreAllMultiplied([Values(2, 3)] int tiles, [Values(4, 16)] int rows)
    {
        var code = new Routine(Packed(rows, 32, true));
        using var operands = new AmxOperands(code.Shape, steps: 4, tiles, seed: tiles);
        var expected = operands.Expected();

        code.Run(operands);

        Assert.That(operands.SameAs(expected));
    }

    [Test]
    public void Routine_RunAfterRun_IsOneChain([Values(16, 32)] int depth)
    {
        var code = new Routine(Packed(16, depth, true));
        using var operands = new AmxOperands(code.Shape, steps: 6, rowTiles: 2, seed: 3);
        var expected = operands.Expected();

        code.Run(operands, firstStep: 0, steps: 2);
        code.Run(operands, firstStep: 2, steps: 4);

        Assert.That(operands.SameAs(expected));
    }

    [Test]
    public void Routine_StepsApart_AreFoundWhereTheShapeSays()
    {
        var shape = new AmxShape(5, 16, false, WeightStep: 256, WeightPair: 1024, ScaleStep: 64, ScalePair: 256);
        var code = new Routine(shape);
        using var operands = new AmxOperands(shape, steps: 6, rowTiles: 1, seed: 4);
        var expected = operands.Expected();

        code.Run(operands);

        Assert.That(operands.SameAs(expected));
    }

    [Test]
    public void Routine_MemoryOneByteTooSmall_Faults([Values(0, 1, 2, 3, 4)] int operand)
    {
        var code = new Routine(Packed(16, 32, true));
        using var operands = new AmxOperands(code.Shape, steps: 3, rowTiles: 1, seed: 5);

        Assert.That(() => code.Run(operands, shortOperand: operand),
            Throws.TypeOf<MachineFaultException>().With.Message.StartsWith("#PF"));
    }

    [Test]
    public void Routine_TileInstructions_AreEncodedAsOtherAssemblersDo()
    {
        // Arrange: the bytes that GNU as and llvm-mc give, which agree.
        var code = new Routine(AmxShape.Of(TileKind.Minimum, 16));
        (string Text, string Bytes)[] expected =
        [
            ("ldtilecfg [rax]", "C4E2784900"),
            ("tilezero tmm0", "C4E27B49C0"),
            ("tilezero tmm1", "C4E27B49C8"),
            ("tileloadd tmm2,[rsi+rdx]", "C4E27B4B1416"),
            ("tileloadd tmm3,[rsi+rdx+20h]", "C4E27B4B5C1620"),
            ("tileloadd tmm4,[rcx+r8]", "C4A27B4B2401"),
            ("tileloadd tmm5,[rcx+r8+500h]", "C4A27B4BAC0100050000"),
            ("tdpbssd tmm0,tmm2,tmm4", "C4E25B5EC2"),
            ("tdpbssd tmm1,tmm3,tmm5", "C4E2535ECB"),
            ("tilestored [r9+r8],tmm0", "C4827A4B0401"),
            ("tilestored [r9+r8+400h],tmm1", "C4827A4B8C0100040000"),
            ("tilerelease", "C4E27849C0"),
        ];

        // Act
        var actual = code.TileInstructions().ToDictionary();

        // Assert
        foreach (var (text, bytes) in expected)
        {
            Assert.That(actual.GetValueOrDefault(text), Is.EqualTo(bytes), text);
        }
    }

    private static AmxShape Packed(int rows, int depth, bool mins) =>
        new(rows, depth, mins, depth * Lanes, 2 * depth * Lanes, Lanes * sizeof(float), 2 * Lanes * sizeof(float));

    private sealed class Routine
    {
        private readonly byte[] _bytes;

        internal Routine(AmxShape shape)
        {
            Shape = shape;
            _bytes = MachineInterpreter.Assemble(assembler => AmxAssembly.Write(assembler, shape));
        }

        internal AmxShape Shape { get; }

        /// <summary>Text and bytes of each instruction on tiles.</summary>
        internal IEnumerable<KeyValuePair<string, string>> TileInstructions()
        {
            var decoder = Decoder.Create(64, new ByteArrayCodeReader(_bytes));
            var found = new HashSet<string>();
            while (decoder.IP < (ulong)_bytes.Length)
            {
                var instruction = decoder.Decode();
                var text = instruction.ToString();
                if (text.Contains("til", StringComparison.Ordinal) || text.Contains("tdp", StringComparison.Ordinal))
                {
                    if (found.Add(text))
                    {
                        yield return new(
                            text, Convert.ToHexString(_bytes, (int)instruction.IP, instruction.Length));
                    }
                }
            }
        }

        internal void Run(AmxOperands operands, int firstStep = 0, int steps = -1, int shortOperand = -1)
        {
            var configuration = stackalloc byte[TileConfiguration.SizeBytes];
            TileConfiguration.Write(
                new Span<byte>(configuration, TileConfiguration.SizeBytes), Shape.Rows, Shape.Depth);
            var sums = (int*)NativeMemory.AlignedAlloc(AmxAssembly.ScratchBytes, Lanes * sizeof(float));
            try
            {
                var arguments = operands.Arguments(firstStep, steps < 0 ? operands.Steps : steps);
                arguments.Configuration = configuration;
                arguments.Sums = sums;
                var memory = operands.Memory(shortOperand);
                memory.Allow(configuration, TileConfiguration.SizeBytes, writable: false);
                memory.Allow(sums, AmxAssembly.ScratchBytes, writable: true);
                memory.Allow(&arguments, sizeof(AmxArguments), writable: true);
                var machine = new MachineInterpreter(_bytes, memory);

                machine.Call(&arguments);

                Assert.That(machine.Tiles.IsConfigured, Is.False, "tiles are left configured");
            }
            finally
            {
                NativeMemory.AlignedFree(sums);
            }
        }
    }
}
