using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>
/// Writes <see cref="LatentKernels.Sum"/> with <c>vdpbf16ps</c>: eight heads by 32 values stay in registers while the
/// keys of a tile pass by pairs, interleaved as they come.
/// </summary>
internal static unsafe class LatentSumRoutine
{
    private const int VectorBytes = 64;
    private const int PointerBytes = 8;
    private const int PairBytes = 4;
    private const int FirstWeight = 4;
    private const int WeightRegisters = 8;
    private const int FirstSum = 16;
    private const int Quarter = 4;
    private const int Lanes = 16;
    private const int SumStrideAt = 4 * PointerBytes;
    private const int AheadAt = 3 * PointerBytes;
    private const int AheadStepAt = 4 * PointerBytes;

    private static readonly AssemblerRegister64[] Saved = [rbx, rbp, r12, r13, r14, r15];

    private static AssemblerRegister64 Arguments => rdi;

    private static AssemblerRegister64 First => rsi;

    private static AssemblerRegister64 SecondOffset => rdx;

    private static AssemblerRegister64 PairsLeft => rcx;

    private static AssemblerRegister64 Run => r8;

    private static AssemblerRegister64 RunsLeft => r9;

    private static AssemblerRegister64 WeightAt => r10;

    private static AssemblerRegister64 Offset => r11;

    private static AssemblerRegister64 Ahead => rax;

    private static AssemblerRegister64 PairStride => rbx;

    private static AssemblerRegister64 Sums => r12;

    private static AssemblerRegister64 AheadStep => r13;

    private static AssemblerRegister64 BlocksLeft => r14;

    private static AssemblerRegister64 Rescale => r15;

    private static AssemblerRegister64 Second => rbp;

    /// <summary>The routine; its argument is a <see cref="LatentSums"/>.</summary>
    internal static void Write(Assembler c)
    {
        foreach (var register in Saved)
        {
            c.push(register);
        }

        AssemblerRegister64?[] arguments =
            [null, null, null, Sums, null, Rescale, BlocksLeft, PairStride];
        for (var i = 0; i < arguments.Length; i++)
        {
            if (arguments[i] is { } register)
            {
                c.mov(register, __qword_ptr[Arguments + (i * PointerBytes)]);
            }
        }

        c.xor(Offset, Offset);
        var (block, run, pair) = (c.CreateLabel(), c.CreateLabel(), c.CreateLabel());
        c.Label(ref block);
        for (var i = 0; i < 2 * LatentKernels.Heads; i++)
        {
            var sum = RoutineFrame.Vector(FirstSum + i);
            c.vpxord(sum, sum, sum);
        }

        c.mov(Run, __qword_ptr[Arguments]);
        c.mov(RunsLeft, __qword_ptr[Arguments + PointerBytes]);
        c.mov(WeightAt, __qword_ptr[Arguments + (2 * PointerBytes)]);
        c.Label(ref run);
        c.mov(First, __qword_ptr[Run]);
        c.add(First, Offset);
        c.mov(SecondOffset, __qword_ptr[Run + PointerBytes]);
        c.mov(PairsLeft, __qword_ptr[Run + (2 * PointerBytes)]);
        c.mov(Ahead, __qword_ptr[Run + AheadAt]);
        c.mov(AheadStep, __qword_ptr[Run + AheadStepAt]);
        c.Label(ref pair);
        WritePair(c);
        c.dec(PairsLeft);
        c.jne(pair);
        c.mov(__qword_ptr[Run + AheadAt], Ahead);
        c.add(Run, sizeof(LatentRun));
        c.dec(RunsLeft);
        c.jne(run);
        WriteEnd(c);
        c.add(Sums, 2 * VectorBytes);
        c.add(Offset, VectorBytes);
        c.dec(BlocksLeft);
        c.jne(block);

        c.vzeroupper();
        foreach (var register in Saved.Reverse())
        {
            c.pop(register);
        }

        c.ret();
    }

    /// <summary>
    /// Copies sums into the order of the rows: interleaving leaves, of every eight values, four in one register and
    /// four in the other.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void CopyOrdered(float* sums, float* target, int count)
    {
        var lower = Vector512.Create(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
        var upper = lower + Vector512.Create(LatentKernels.StepValues / Quarter);
        for (var i = 0; i < count; i += LatentKernels.StepValues)
        {
            var (first, second) = (Vector512.Load(sums + i), Vector512.Load(sums + i + Lanes));
            Avx512F.PermuteVar16x32x2(first, lower, second).Store(target + i);
            Avx512F.PermuteVar16x32x2(first, upper, second).Store(target + i + Lanes);
        }
    }

    private static AssemblerRegisterZMM Sum(int head, int half) =>
        RoutineFrame.Vector(FirstSum + (2 * head) + half);

    private static void WritePair(Assembler c)
    {
        c.lea(Second, __[First + SecondOffset]);
        c.vmovups(zmm0, __zmmword_ptr[First]);
        c.vmovups(zmm1, __zmmword_ptr[Second]);
        c.prefetcht1(__byte_ptr[Ahead]);
        c.vpunpcklwd(zmm2, zmm0, zmm1);
        c.vpunpckhwd(zmm3, zmm0, zmm1);
        for (var head = 0; head < LatentKernels.Heads; head++)
        {
            var weight = RoutineFrame.Vector(FirstWeight + (head % WeightRegisters));
            c.vpbroadcastd(
                weight, __dword_ptr[WeightAt + (head * LatentKernels.WeightStride * sizeof(ushort))]);
            c.vdpbf16ps(Sum(head, 0), zmm2, weight);
            c.vdpbf16ps(Sum(head, 1), zmm3, weight);
        }

        c.add(First, PairStride);
        c.add(Ahead, AheadStep);
        c.add(WeightAt, PairBytes);
    }

    /// <summary>The sums before, times their factor, are added.</summary>
    private static void WriteEnd(Assembler c)
    {
        c.mov(First, Sums);
        for (var head = 0; head < LatentKernels.Heads; head++)
        {
            c.vbroadcastss(zmm0, __dword_ptr[Rescale + (head * sizeof(float))]);
            c.vfmadd231ps(Sum(head, 0), zmm0, __zmmword_ptr[First]);
            c.vfmadd231ps(Sum(head, 1), zmm0, __zmmword_ptr[First + VectorBytes]);
            c.vmovups(__zmmword_ptr[First], Sum(head, 0));
            c.vmovups(__zmmword_ptr[First + VectorBytes], Sum(head, 1));
            c.add(First, __qword_ptr[Arguments + SumStrideAt]);
        }
    }
}
