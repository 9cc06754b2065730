using Kimi.Mooncake.Kernels.Cpu.Amx;
using Kimi.Mooncake.Kernels.Cpu.Int8;

namespace Kimi.Mooncake.Kernels.Tests.Amx;

/// <summary>AMX routines for tiles of a kind, interpreted: they touch what their arguments say and no more.</summary>
internal sealed unsafe class InterpretedAmxCode(TileKind kind)
{
    private readonly byte[]?[] _routines = new byte[]?[AmxShape.RowsMax + 1];

    internal void Call(int rows, AmxArguments* arguments)
    {
        var shape = AmxShape.Of(kind, rows);
        _routines[rows] ??= MachineInterpreter.Assemble(assembler => AmxAssembly.Write(assembler, shape));
        var allRows = rows * arguments->RowTiles;
        var (pairs, odd) = Math.DivRem(arguments->Steps - 1, 2);
        var lastWeights = (pairs * shape.WeightPair) + (odd * shape.WeightStep);
        var lastScales = (pairs * shape.ScalePair) + (odd * shape.ScaleStep);
        var lastRowScales = (pairs * shape.RowScalePair) + (odd * shape.RowScaleStep)
            + ((arguments->RowTiles - 1) * arguments->RowScalesStride);
        var memory = new MachineMemory();
        memory.Allow(arguments, sizeof(AmxArguments), writable: true);
        memory.Allow(arguments->Configuration, TileConfiguration.SizeBytes, writable: false);
        memory.Allow(arguments->Sums, AmxAssembly.ScratchBytes, writable: true);
        memory.Allow(
            arguments->Inputs, ((allRows - 1) * arguments->InputStride) + (arguments->Steps * shape.Depth), false);
        memory.Allow(arguments->Weights, lastWeights + (shape.Depth * AmxShape.Lanes), writable: false);
        memory.Allow(arguments->Scales, lastScales + AmxShape.LaneBytes, writable: false);
        memory.Allow(arguments->Mins, shape.HasMins ? lastScales + AmxShape.LaneBytes : 0, writable: false);
        memory.Allow(arguments->RowScales, lastRowScales + shape.RowScaleBytes, writable: false);
        memory.Allow(
            arguments->Results, ((allRows - 1) * arguments->ResultStride) + AmxShape.LaneBytes, writable: true);
        var machine = new MachineInterpreter(_routines[rows]!, memory);

        machine.Call(arguments);

        if (machine.Tiles.IsConfigured)
        {
            throw new InvalidOperationException("the routine left its tiles configured");
        }
    }
}

/// <summary>The routines of AVX-512, interpreted.</summary>
internal sealed unsafe class InterpretedInt8(TileFormat format, int rowsAtOnce) : Int8Kernel
{
    private readonly byte[]?[] _routines = new byte[]?[rowsAtOnce + 1];

    internal override void Multiply(in Int8Run run)
    {
        var sums = format.Kind == TileKind.Halves ? 2 : 1;
        for (var row = 0L; row < run.Rows; row += rowsAtOnce)
        {
            var rows = (int)Math.Min(rowsAtOnce, run.Rows - row);
            _routines[rows] ??= MachineInterpreter.Assemble(new Int8Routine(format, rows).Write);
            var part = run.From(row, sums);
            part.Rows = 1;
            var memory = new MachineMemory();
            memory.Allow(&part, sizeof(Int8Run), writable: true);
            memory.Allow(part.Tile, part.Blocks * format.BlockBytes, writable: false);
            memory.Allow(part.X, ((rows - 1) * part.XStride) + (part.Blocks * WeightTile.BlockValues), false);
            var blockBytes = part.Blocks * sizeof(float);
            memory.Allow(part.Scales, ((rows - 1) * part.BlockStride) + blockBytes, writable: false);
            memory.Allow(part.ScaledSums, ((rows - 1) * part.BlockStride) + blockBytes, writable: false);
            memory.Allow(part.Sums, sums * (((rows - 1) * part.BlockStride) + blockBytes), writable: false);
            memory.Allow(part.Y, ((rows - 1) * part.YStride) + (WeightTile.Outputs * sizeof(float)), true);
            new MachineInterpreter(_routines[rows]!, memory).Call(&part);
        }
    }
}
