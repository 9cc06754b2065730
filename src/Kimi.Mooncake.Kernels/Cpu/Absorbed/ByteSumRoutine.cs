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
    private const int Unrolled = 4;
    private const int QuadBytes = sizeof(uint);
    private const int UnitShift = 5; // ByteRows.UnitShare.

    private static AssemblerRegister64 BatchBytes => rsi;

    private static AssemblerRegister64 Weights => rdx;

    private static AssemblerRegister64 Units => rcx;

    private static AssemblerRegister64 Rescale => r8;

    private static AssemblerRegister64 Offsets => r9;

    private static AssemblerRegister64 Sums => r10;

    private static AssemblerRegister64 BatchesLeft => r11;

    private static AssemblerRegister64 Quads => rax;

    private static AssemblerRegister64 QuadsLeft => rbx;

    private static AssemblerRegister64 LatentAt => rbp;

    private static AssemblerRegister64 WeightAt => r12;

    private static AssemblerRegister64 SumAt => r13;

    private static AssemblerRegister64 Ahead => r14;

    private static AssemblerRegister64 AheadStep => r15;

    /// <summary>The routine; its argument is a <see cref="ByteSums"/> of quads that are a multiple of 8.</summary>
    internal static void Write(Assembler c, int rows)
    {
        RoutineFrame.Enter(c);
        (AssemblerRegister64 Register, string Member)[] arguments =
        [
            (BatchBytes, nameof(ByteSums.BatchBytes)), (Weights, nameof(ByteSums.Weights)),
            (Units, nameof(ByteSums.Units)), (Rescale, nameof(ByteSums.Rescale)),
            (Offsets, nameof(ByteSums.Offsets)), (Sums, nameof(ByteSums.Sums)),
            (BatchesLeft, nameof(ByteSums.Batches)), (Quads, nameof(ByteSums.Quads)), (Ahead, nameof(ByteSums.Ahead)),
            (AheadStep, nameof(ByteSums.AheadStepBytes)),
        ];
        foreach (var (register, member) in arguments)
        {
            RoutineFrame.Load<ByteSums>(c, register, member);
        }

        var batch = c.CreateLabel();
        c.Label(ref batch);
        RoutineFrame.Load<ByteSums>(c, LatentAt, nameof(ByteSums.Latents));
        for (var half = 0; half < 2; half++)
        {
            WriteHalf(c, half, rows);
        }

        c.add(Weights, BatchBytes);
        c.mov(WeightAt, BatchBytes);
        c.shr(WeightAt, UnitShift);
        c.add(Units, WeightAt);
        c.add(Rescale, ByteRows.Count * sizeof(float));
        c.add(Offsets, ByteRows.Count * sizeof(long));
        c.dec(BatchesLeft);
        c.jne(batch);
        RoutineFrame.Leave(c);
    }

    private static AssemblerRegisterZMM Sum(int row, int half) => RoutineFrame.Vector(FirstSum + (2 * row) + half);

    /// <summary>32 latents of a group.</summary>
    private static void WriteHalf(Assembler c, int half, int rows)
    {
        for (var i = 0; i < 2 * rows; i++)
        {
            var sum = RoutineFrame.Vector(FirstSum + i);
            c.vpxord(sum, sum, sum);
        }

        c.mov(WeightAt, Weights);
        c.mov(QuadsLeft, Quads);
        var loop = c.CreateLabel();
        c.Label(ref loop);
        for (var quad = 0; quad < Unrolled; quad++)
        {
            c.prefetcht1(__byte_ptr[Ahead]);
            c.add(Ahead, AheadStep);
            c.vmovdqu32(zmm0, __zmmword_ptr[LatentAt + (quad * ByteTileShape.StepBytes)]);
            c.vmovdqu32(zmm1, __zmmword_ptr[LatentAt + ((quad * ByteTileShape.StepBytes) + VectorBytes)]);
            for (var row = 0; row < rows; row++)
            {
                var weight = RoutineFrame.Vector(FirstWeight + row);
                c.vpbroadcastd(weight, __dword_ptr[WeightAt + ((quad * QuadBytes) + (row * ByteRows.Bytes))]);
                c.vpdpbusd(Sum(row, 0), weight, zmm0);
                c.vpdpbusd(Sum(row, 1), weight, zmm1);
            }
        }

        c.add(LatentAt, Unrolled * ByteTileShape.StepBytes);
        c.add(WeightAt, Unrolled * QuadBytes);
        c.sub(QuadsLeft, Unrolled);
        c.jne(loop);
        for (var row = 0; row < rows; row++)
        {
            WriteEnd(c, half, row);
        }

        // Halves of whole tiles are as long as this loop; of others there is more.
        c.mov(QuadsLeft, ByteTileShape.TileQuads);
        c.sub(QuadsLeft, Quads);
        c.imul(QuadsLeft, QuadsLeft, ByteTileShape.StepBytes);
        c.add(LatentAt, QuadsLeft);
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
