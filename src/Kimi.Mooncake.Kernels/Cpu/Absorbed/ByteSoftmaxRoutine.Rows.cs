using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <content>Weights rounded to rows of bytes.</content>
internal static partial class ByteSoftmaxRoutine
{
    /// <summary>One row of rounded weights, or two.</summary>
    private static void WriteRows(Assembler c)
    {
        var (one, done) = (c.CreateLabel(), c.CreateLabel());
        c.vbroadcastss(Greatest, __dword_ptr[Units + (Head * sizeof(float))]);
        c.vmulss(xmm0, xmm25, __dword_ptr[RoutineFrame.At<ByteWeights>(nameof(ByteWeights.Spread))]); // Greatest.
        c.vucomiss(xmm0, __dword_ptr[Sums + (Head * sizeof(float))]);
        c.jbe(one);
        WriteLowRow(c);
        WriteFactor(c, ByteSoftmax.MoreLevels);
        WriteUnits(c, isHeavy: true);
        WriteBlocks(c, isHeavy: true);
        RoutineFrame.Load<ByteWeights>(c, Scratch, nameof(ByteWeights.SumStrideBytes));
        c.imul(Scratch, Head);
        c.add(Scratch, __qword_ptr[RoutineFrame.At<ByteWeights>(nameof(ByteWeights.SumOffset))]);
        RoutineFrame.Load<ByteWeights>(c, At, nameof(ByteWeights.LowOffsets));
        c.mov(__qword_ptr[At + (LowRow * sizeof(long))], Scratch);
        c.inc(LowRow);
        c.jmp(done);
        c.Label(ref one);
        WriteFactor(c, ByteSoftmax.Levels);
        WriteUnits(c, isHeavy: false);
        WriteBlocks(c, isHeavy: false);
        c.Label(ref done);
    }

    /// <summary>Where the lower row's weights are; its units to <see cref="RowAt"/>.</summary>
    private static void WriteLowRow(Assembler c)
    {
        // Rows of the batches before, for all groups.
        c.mov(RowAt, LowRow);
        c.shr(RowAt, RowShift);
        c.imul(RowAt, __qword_ptr[RoutineFrame.At<ByteWeights>(nameof(ByteWeights.Groups))]);
        c.shl(RowAt, RowShift);
        c.mov(Scratch, LowRow);
        c.and(Scratch, ByteRows.Count - 1);
        c.add(RowAt, Scratch);
        c.mov(Lower, RowAt);
        c.imul(Lower, Lower, RowBytes);
        c.add(Lower, __qword_ptr[RoutineFrame.At<ByteWeights>(nameof(ByteWeights.LowWeights))]);
        c.shl(RowAt, 2);
        c.add(RowAt, __qword_ptr[RoutineFrame.At<ByteWeights>(nameof(ByteWeights.LowUnits))]);
    }

    /// <summary>What weights are multiplied with; what one level is worth, times no scale, in xmm1.</summary>
    private static void WriteFactor(Assembler c, float levels)
    {
        var isEnough = c.CreateLabel();
        c.mov(r11d, BitConverter.SingleToInt32Bits(levels));
        c.vmovd(xmm2, r11d);
        c.vdivss(xmm1, xmm25, xmm2); // Greatest.
        c.vdivss(xmm2, xmm2, xmm25);
        c.mov(r11d, BitConverter.SingleToInt32Bits(LatentSoftmax.WeightMin));
        c.vmovd(xmm0, r11d);
        c.vucomiss(xmm25, xmm0);
        c.jae(isEnough);
        c.vxorps(xmm2, xmm2, xmm2);
        c.Label(ref isEnough);
        c.vbroadcastss(Factor, xmm2);
    }

    private static void WriteUnits(Assembler c, bool isHeavy)
    {
        var loop = c.CreateLabel();
        RoutineFrame.Load<ByteWeights>(c, GroupsLeft, nameof(ByteWeights.Groups));
        RoutineFrame.Load<ByteWeights>(c, ScaleAt, nameof(ByteWeights.GroupScales));
        c.mov(At, Units);
        if (isHeavy)
        {
            c.mov(r11d, BitConverter.SingleToInt32Bits(ByteSoftmax.UpperUnit));
            c.vmovd(xmm2, r11d);
        }

        c.Label(ref loop);
        c.vmulss(xmm0, xmm1, __dword_ptr[ScaleAt]);
        if (isHeavy)
        {
            c.vmovss(__dword_ptr[RowAt], xmm0);
            c.add(RowAt, UnitBytes);
            c.vmulss(xmm0, xmm0, xmm2);
        }

        c.vmovss(__dword_ptr[At + (Head * sizeof(float))], xmm0);
        c.add(ScaleAt, sizeof(float));
        c.add(At, UnitBytes);
        c.dec(GroupsLeft);
        c.jne(loop);
    }

    /// <summary>Weights by group, 64 keys at a time.</summary>
    private static void WriteBlocks(Assembler c, bool isHeavy)
    {
        var (block, group) = (c.CreateLabel(), c.CreateLabel());
        c.xor(r10d, r10d);
        c.Label(ref block);
        for (var i = 0; i < BlockVectors; i++)
        {
            c.vmulps(RoutineFrame.Vector(i), Factor, __zmmword_ptr[Scores + At + (i * VectorBytes)]);
        }

        // A byte of a weight for four of a score.
        c.mov(RowAt, At);
        c.shr(RowAt, 2);
        RoutineFrame.Load<ByteWeights>(c, ScaleAt, nameof(ByteWeights.KeyScales));
        c.add(ScaleAt, At);
        RoutineFrame.Load<ByteWeights>(c, GroupsLeft, nameof(ByteWeights.Groups));
        c.Label(ref group);
        for (var i = 0; i < BlockVectors; i++)
        {
            var rounded = RoutineFrame.Vector(BlockVectors + i);
            c.vmulps(rounded, RoutineFrame.Vector(i), __zmmword_ptr[ScaleAt + (i * VectorBytes)]);
            c.vcvtps2dq(rounded, rounded);
        }

        c.vpackusdw(zmm4, zmm4, zmm5);
        c.vpackusdw(zmm6, zmm6, zmm7);
        if (isHeavy)
        {
            c.vpandd(zmm5, zmm4, LowMask);
            c.vpandd(zmm7, zmm6, LowMask);
            c.vpsrlw(zmm4, zmm4, ByteBits);
            c.vpsrlw(zmm6, zmm6, ByteBits);
            WriteBytes(c, zmm5, zmm7, Lower);
        }

        WriteBytes(c, zmm4, zmm6, Upper);
        c.add(RowAt, ByteRows.GroupBytes);
        c.add(ScaleAt, TileScaleBytes);
        c.dec(GroupsLeft);
        c.jne(group);
        c.add(At, BlockBytes);
        c.cmp(At, Width);
        c.jb(block);
    }

    private static void WriteBytes(
        Assembler c, AssemblerRegisterZMM first, AssemblerRegisterZMM second, AssemblerRegister64 target)
    {
        c.vpackuswb(first, first, second);
        c.vpermd(first, Order, first);
        c.vmovdqu32(__zmmword_ptr[target + RowAt], first);
    }
}
