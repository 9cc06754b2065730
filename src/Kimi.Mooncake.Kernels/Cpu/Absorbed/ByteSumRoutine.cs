using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>
/// Writes <see cref="ByteKernels.Sum"/> with <c>vpdpbusd</c>: some rows of weights by 32 latents stay in registers
/// while the keys of a tile pass, four at a time.
/// </summary>
internal static class ByteSumRoutine
{
    private const int VectorBytes = 64;
    private const int FirstWeight = 2;
    private const int FirstSum = 16;
    private const int Unrolled = 4; // As many as 16 rows have.
    private const int QuadBytes = sizeof(uint);
    private const int UnitShift = 5; // ByteRows.UnitShare.

    private static AssemblerRegister64 QuadsLeft => rbx;

    private static AssemblerRegister64 LatentAt => rbp;

    private static AssemblerRegister64 Weights => rdx;

    private static AssemblerRegister64 WeightAt => r12;

    private static AssemblerRegister64 Ahead => r14;

    private static AssemblerRegister64 AheadStep => r15;

    private static AssemblerRegister64 RunAt => r13;

    private static AssemblerRegister64 RowAt => r8;

    private static AssemblerRegister64 Stride => r9;

    private static AssemblerRegister64 ThreeStrides => r10;

    private static AssemblerRegister64 NextAt => r11;

    // When a half's loop is done.
    private static AssemblerRegister64 Units => rcx;

    private static AssemblerRegister64 Rescale => r8;

    private static AssemblerRegister64 Offsets => r9;

    private static AssemblerRegister64 Sums => r10;

    private static AssemblerRegister64 SumAt => rax;

    /// <summary>The routine; its argument is a <see cref="ByteSums"/> of quads that are a multiple of 8.</summary>
    internal static void Write(Assembler c, int rows)
    {
        RoutineFrame.Enter(c);
        RoutineFrame.Load<ByteSums>(c, Weights, nameof(ByteSums.Weights));
        RoutineFrame.Load<ByteSums>(c, Ahead, nameof(ByteSums.Ahead));
        RoutineFrame.Load<ByteSums>(c, AheadStep, nameof(ByteSums.AheadStepBytes));
        var (batch, next) = (c.CreateLabel(), c.CreateLabel());
        c.cmp(__qword_ptr[RoutineFrame.At<ByteSums>(nameof(ByteSums.NextRuns))], 0);
        c.je(batch);
        WriteBatch(c, rows, turns: true);
        c.jmp(next);
        c.Label(ref batch);
        WriteBatch(c, rows, turns: false);
        c.Label(ref next);
        RoutineFrame.Load<ByteSums>(c, SumAt, nameof(ByteSums.BatchBytes));
        c.add(Weights, SumAt);
        c.shr(SumAt, UnitShift);
        c.add(__qword_ptr[RoutineFrame.At<ByteSums>(nameof(ByteSums.Units))], SumAt);
        c.add(
            __qword_ptr[RoutineFrame.At<ByteSums>(nameof(ByteSums.Rescale))], ByteRows.Count * sizeof(float));
        c.add(__qword_ptr[RoutineFrame.At<ByteSums>(nameof(ByteSums.Offsets))], ByteRows.Count * sizeof(long));
        c.dec(__qword_ptr[RoutineFrame.At<ByteSums>(nameof(ByteSums.Batches))]);
        c.jne(batch);
        RoutineFrame.Leave(c);
    }

    private static AssemblerRegisterZMM Sum(int row, int half) => RoutineFrame.Vector(FirstSum + (2 * row) + half);

    private static void WriteBatch(Assembler c, int rows, bool turns)
    {
        for (var half = 0; half < 2; half++)
        {
            WriteHalf(c, half, rows, turns);
            RoutineFrame.Load<ByteSums>(c, Units, nameof(ByteSums.Units));
            RoutineFrame.Load<ByteSums>(c, Rescale, nameof(ByteSums.Rescale));
            RoutineFrame.Load<ByteSums>(c, Offsets, nameof(ByteSums.Offsets));
            RoutineFrame.Load<ByteSums>(c, Sums, nameof(ByteSums.Sums));
            for (var row = 0; row < rows; row++)
            {
                WriteEnd(c, half, row);
            }
        }
    }

    /// <summary>32 latents of a group; meanwhile as many of the next are turned, four rows at a step.</summary>
    private static void WriteHalf(Assembler c, int half, int rows, bool turns)
    {
        for (var i = 0; i < 2 * rows; i++)
        {
            var sum = RoutineFrame.Vector(FirstSum + i);
            c.vpxord(sum, sum, sum);
        }

        RoutineFrame.Load<ByteSums>(c, LatentAt, nameof(ByteSums.Latents));
        RoutineFrame.Load<ByteSums>(c, QuadsLeft, nameof(ByteSums.Quads));
        c.mov(WeightAt, Weights);
        if (turns)
        {
            RoutineFrame.Load<ByteSums>(c, RunAt, nameof(ByteSums.NextRuns));
            RoutineFrame.Load<ByteSums>(c, NextAt, nameof(ByteSums.NextLatents));
        }

        var loop = c.CreateLabel();
        c.Label(ref loop);
        if (turns)
        {
            c.mov(RowAt, __qword_ptr[RunAt]);
            c.mov(Stride, __qword_ptr[RunAt + sizeof(long)]);
            c.add(RowAt, __qword_ptr[RoutineFrame.At<ByteSums>(nameof(ByteSums.NextOffset))]);
            c.lea(ThreeStrides, __[Stride + (Stride * 2)]);
            c.add(RunAt, 2 * sizeof(long));
        }

        for (var quad = 0; quad < Unrolled; quad++)
        {
            WriteQuad(c, half, quad, rows);
            if (turns)
            {
                WriteTurn(c, half, quad);
            }
        }

        c.add(LatentAt, Unrolled * ByteTileShape.StepBytes);
        c.add(NextAt, Unrolled * ByteTileShape.StepBytes);
        c.add(WeightAt, Unrolled * QuadBytes);
        c.sub(QuadsLeft, Unrolled);
        c.jne(loop);
    }

    private static void WriteQuad(Assembler c, int half, int quad, int rows)
    {
        var at = (half * ByteTileShape.HalfGroupBytes) + (quad * ByteTileShape.StepBytes);
        c.prefetcht1(__byte_ptr[Ahead]);
        c.add(Ahead, AheadStep);
        c.vmovdqu32(zmm0, __zmmword_ptr[LatentAt + at]);
        c.vmovdqu32(zmm1, __zmmword_ptr[LatentAt + (at + VectorBytes)]);
        for (var row = 0; row < rows; row++)
        {
            var weight = RoutineFrame.Vector(FirstWeight + row);
            c.vpbroadcastd(weight, __dword_ptr[WeightAt + ((quad * QuadBytes) + (row * ByteRows.Bytes))]);
            c.vpdpbusd(Sum(row, 0), weight, zmm0);
            c.vpdpbusd(Sum(row, 1), weight, zmm1);
        }
    }

    /// <summary>Four rows' bytes in turn, the lower or the upper half of each 16.</summary>
    private static void WriteTurn(Assembler c, int half, int quad)
    {
        var at = (half * ByteTileShape.HalfGroupBytes) + (quad * ByteTileShape.StepBytes);
        c.vmovdqu32(zmm10, __zmmword_ptr[RowAt]);
        c.vmovdqu32(zmm12, __zmmword_ptr[RowAt + (Stride * 2)]);
        if (half == 0)
        {
            c.vpunpcklbw(zmm10, zmm10, __zmmword_ptr[RowAt + Stride]);
            c.vpunpcklbw(zmm12, zmm12, __zmmword_ptr[RowAt + ThreeStrides]);
        }
        else
        {
            c.vpunpckhbw(zmm10, zmm10, __zmmword_ptr[RowAt + Stride]);
            c.vpunpckhbw(zmm12, zmm12, __zmmword_ptr[RowAt + ThreeStrides]);
        }

        c.vpunpcklwd(zmm11, zmm10, zmm12);
        c.vpunpckhwd(zmm13, zmm10, zmm12);
        c.vmovdqu32(__zmmword_ptr[NextAt + at], zmm11);
        c.vmovdqu32(__zmmword_ptr[NextAt + (at + VectorBytes)], zmm13);
        c.lea(RowAt, __[RowAt + (Stride * 4)]);
    }

    /// <summary>The sums before, times their factor, and a row's.</summary>
    private static void WriteEnd(Assembler c, int half, int row)
    {
        c.mov(SumAt, __qword_ptr[Offsets + (row * sizeof(long))]);
        c.vbroadcastss(zmm2, __dword_ptr[Rescale + (row * sizeof(float))]);
        c.vbroadcastss(zmm3, __dword_ptr[Units + (row * sizeof(float))]);
        for (var vector = 0; vector < 2; vector++)
        {
            var (before, sum) = (RoutineFrame.Vector(4 + vector), Sum(row, vector));
            var target = __zmmword_ptr[Sums + SumAt + (((2 * half) + vector) * VectorBytes)];
            c.vmulps(before, zmm2, target);
            c.vcvtdq2ps(sum, sum);
            c.vfmadd231ps(before, sum, zmm3);
            c.vmovups(target, before);
        }
    }
}
