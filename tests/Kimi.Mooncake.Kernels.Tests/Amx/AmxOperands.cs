using System.Runtime.InteropServices;
using Kimi.Mooncake.Kernels.Cpu.Amx;

namespace Kimi.Mooncake.Kernels.Tests.Amx;

/// <summary>Random operands of a routine, extreme values among them, and the chain that it should compute.</summary>
internal sealed unsafe class AmxOperands : IDisposable
{
    private const int Lanes = 16;
    private const int InputSlack = 24;
    private const int ResultSlack = 5;

    private readonly AmxShape _shape;
    private readonly int _rows;
    private readonly int _inputStride;
    private readonly int _resultStride;
    private readonly Operand[] _operands;

    internal AmxOperands(AmxShape shape, int steps, int rowTiles, int seed)
    {
        (_shape, Steps, RowTiles) = (shape, steps, rowTiles);
        _rows = shape.Rows * rowTiles;
        _inputStride = (steps * shape.Depth) + InputSlack;
        _resultStride = Lanes + ResultSlack;
        var random = new Random(seed);
        _operands =
        [
            new Operand(((_rows - 1L) * _inputStride) + (steps * shape.Depth)),
            new Operand(WeightOffset(steps - 1) + (shape.Depth * Lanes)),
            new Operand(ScaleOffset(steps - 1) + (Lanes * sizeof(float))),
            new Operand(shape.HasMins ? ScaleOffset(steps - 1) + (Lanes * sizeof(float)) : 0),
            new Operand((RowScalesStride * (rowTiles - 1)) + RowScaleOffset(steps - 1) + shape.RowScaleBytes),
            new Operand((((_rows - 1L) * _resultStride) + Lanes) * sizeof(float)),
        ];
        foreach (var bytes in _operands.Take(2))
        {
            random.NextBytes(new Span<byte>(bytes.Data, (int)bytes.SizeBytes));
        }

        foreach (var singles in _operands.Skip(2))
        {
            FillSingles(random, singles);
        }

        new Span<sbyte>(Inputs, steps * shape.Depth).Fill(sbyte.MinValue);
        new Span<sbyte>(Weights, shape.Depth * Lanes).Fill(sbyte.MinValue);
    }

    internal int Steps { get; }

    internal int RowTiles { get; }

    private long RowScalesStride => RowScaleOffset(Steps + 1) + 128;

    private sbyte* Inputs => (sbyte*)_operands[0].Data;

    private sbyte* Weights => (sbyte*)_operands[1].Data;

    private float* Results => (float*)_operands[5].Data;

    public void Dispose()
    {
        foreach (var operand in _operands)
        {
            NativeMemory.Free(operand.Data);
        }
    }

    /// <summary>Arguments for a run of steps from an even one; all but the first add to what is there.</summary>
    internal AmxArguments Arguments(int firstStep, int steps) => new()
    {
        Inputs = Inputs + (firstStep * _shape.Depth),
        InputStride = _inputStride,
        Weights = Weights + WeightOffset(firstStep),
        Scales = (float*)(_operands[2].Data + ScaleOffset(firstStep)),
        Mins = (float*)(_operands[3].Data + (_shape.HasMins ? ScaleOffset(firstStep) : 0)),
        RowScales = (float*)(_operands[4].Data + RowScaleOffset(firstStep)),
        RowScalesStride = RowScalesStride,
        Steps = steps,
        RowTiles = RowTiles,
        Accumulate = firstStep,
        Results = Results,
        ResultStride = _resultStride * sizeof(float),
    };

    /// <summary>What the routine may touch; one operand can be said to be a byte shorter than it is.</summary>
    internal MachineMemory Memory(int shortOperand)
    {
        var memory = new MachineMemory();
        for (var i = 0; i < _operands.Length; i++)
        {
            memory.Allow(
                _operands[i].Data, _operands[i].SizeBytes - (i == shortOperand ? 1 : 0), i == _operands.Length - 1);
        }

        return memory;
    }

    internal float[] Expected()
    {
        var expected = new ReadOnlySpan<float>(Results, (int)(_operands[5].SizeBytes / sizeof(float))).ToArray();
        for (var row = 0; row < _rows; row++)
        {
            for (var output = 0; output < Lanes; output++)
            {
                var sum = 0f;
                for (var step = 0; step < Steps; step++)
                {
                    sum = Step(row, output, step, sum);
                }

                expected[(row * _resultStride) + output] = sum;
            }
        }

        return expected;
    }

    internal bool SameAs(float[] expected) => MemoryMarshal.AsBytes<float>(expected)
        .SequenceEqual(new ReadOnlySpan<byte>(Results, expected.Length * sizeof(float)));

    private static void FillSingles(Random random, Operand operand)
    {
        for (var i = 0; i < operand.SizeBytes / sizeof(float); i++)
        {
            ((float*)operand.Data)[i] = random.Next(12) switch
            {
                0 => 0,
                1 => float.Epsilon * random.Next(1, 100),
                2 => 1e30f * random.NextSingle(),
                _ => random.NextSingle() - 0.5f,
            };
        }
    }

    private float Step(int row, int output, int step, float sum)
    {
        var dot = 0;
        for (var k = 0; k < _shape.Depth; k++)
        {
            dot += Inputs[(row * _inputStride) + (step * _shape.Depth) + k]
                * Weights[WeightOffset(step) + (k / 4 * 4 * Lanes) + (4 * output) + (k % 4)];
        }

        var rowScales = (float*)(_operands[4].Data + (row / _shape.Rows * RowScalesStride) + RowScaleOffset(step));
        var scale = ((float*)(_operands[2].Data + ScaleOffset(step)))[output];
        sum = MathF.FusedMultiplyAdd(dot, scale * rowScales[row % _shape.Rows], sum);
        if (_shape.HasMins)
        {
            var min = ((float*)(_operands[3].Data + ScaleOffset(step)))[output];
            sum = MathF.FusedMultiplyAdd(min, rowScales[Lanes + (row % _shape.Rows)], sum);
        }

        return sum;
    }

    private long WeightOffset(int step) => (step / 2 * _shape.WeightPair) + (step % 2 * _shape.WeightStep);

    private long ScaleOffset(int step) => (step / 2 * _shape.ScalePair) + (step % 2 * _shape.ScaleStep);

    private long RowScaleOffset(int step) => (step / 2 * _shape.RowScalePair) + (step % 2 * _shape.RowScaleStep);

    private readonly struct Operand(long sizeBytes)
    {
        internal byte* Data { get; } = (byte*)NativeMemory.AllocZeroed((nuint)Math.Max(sizeBytes, 1));

        internal long SizeBytes { get; } = sizeBytes;
    }
}
