using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>Rows of scores that advance their softmax by a tile; the generated routine knows these offsets.</summary>
internal unsafe struct Bf16SoftmaxRows
{
    /// <summary>Scores in, weights out; hidden ones are negative infinity.</summary>
    internal float* Scores;
    internal long ScoreStrideBytes;
    internal long Rows;

    /// <summary>Bytes of a row's scores, a multiple of 128.</summary>
    internal long ScoreBytes;

    /// <summary>Running maximum of each row.</summary>
    internal float* Maxima;

    /// <summary>Running sum of each row.</summary>
    internal float* Sums;

    /// <summary>Weighted sums of values.</summary>
    internal float* Values;
    internal long ValueStrideBytes;

    /// <summary>Bytes of a row's values, a multiple of 64.</summary>
    internal long ValueBytes;
    internal float Scale;
}

/// <summary>
/// Writes <see cref="Bf16Softmax.Advance"/> for many rows with the instructions that take a number apart at its binary
/// point, scale by a power of two and round to bfloat16. The bits are the same.
/// </summary>
internal static class Bf16SoftmaxRoutine
{
    private const int PointerBytes = 8;
    private const int VectorBytes = 64;
    private const int StepBytes = 2 * VectorBytes;
    private const int ScaleAt = 9 * PointerBytes;
    private static AssemblerRegister64 Scores => rax;

    private static AssemblerRegister64 Rows => rcx;

    private static AssemblerRegister64 ScoreBytes => rdx;

    private static AssemblerRegister64 Maxima => rsi;

    private static AssemblerRegister64 Sums => r8;

    private static AssemblerRegister64 Values => r9;

    private static AssemblerRegister64 ValueBytes => r10;

    private static AssemblerRegister64 At => r11;

    private static AssemblerRegister64 Weights => rbx;

    private static AssemblerRegisterZMM Scale => zmm8;

    private static AssemblerRegisterZMM Max => zmm9;

    /// <summary>The routine; its argument is a <see cref="Bf16SoftmaxRows"/>.</summary>
    internal static void Write(Assembler c)
    {
        c.push(Weights);
        (AssemblerRegister64 Register, int Index)[] arguments =
            [(Scores, 0), (Rows, 2), (ScoreBytes, 3), (Maxima, 4), (Sums, 5), (Values, 6), (ValueBytes, 8)];
        foreach (var (register, index) in arguments)
        {
            c.mov(register, __qword_ptr[rdi + (index * PointerBytes)]);
        }

        c.vbroadcastss(Scale, __dword_ptr[rdi + ScaleAt]);
        SoftmaxCode.WriteConstants(c);
        var row = c.CreateLabel();
        c.Label(ref row);
        WriteMax(c);
        WriteWeights(c);
        WriteState(c);
        c.add(Scores, __qword_ptr[rdi + PointerBytes]);
        c.add(Values, __qword_ptr[rdi + (7 * PointerBytes)]);
        c.add(Maxima, sizeof(float));
        c.add(Sums, sizeof(float));
        c.dec(Rows);
        c.jne(row);
        c.vzeroupper();
        c.pop(Weights);
        c.ret();
    }

    /// <summary>The new maximum everywhere in <see cref="Max"/>; the exponent that rescales in zmm2.</summary>
    private static void WriteMax(Assembler c)
    {
        var (loop, done) = (c.CreateLabel(), c.CreateLabel());
        c.vmovups(zmm0, __zmmword_ptr[Scores]);
        c.vmovups(zmm1, __zmmword_ptr[Scores + VectorBytes]);
        c.mov(At, StepBytes);
        c.Label(ref loop);
        c.cmp(At, ScoreBytes);
        c.jae(done);
        c.vmaxps(zmm0, zmm0, __zmmword_ptr[Scores + At]);
        c.vmaxps(zmm1, zmm1, __zmmword_ptr[Scores + At + VectorBytes]);
        c.add(At, StepBytes);
        c.jmp(loop);
        c.Label(ref done);
        c.vmaxps(zmm0, zmm0, zmm1);
        SoftmaxCode.WriteMaxOfLanes(c);
        c.vmulss(xmm0, xmm0, xmm8);
        c.vmovss(xmm1, __dword_ptr[Maxima]);
        c.vmaxss(xmm0, xmm0, xmm1);
        c.vsubss(xmm1, xmm1, xmm0);
        c.vmovss(__dword_ptr[Maxima], xmm0);
        c.vbroadcastss(Max, xmm0);
        c.vbroadcastss(zmm2, xmm1);
    }

    /// <summary>Weights in place of scores; their sums in zmm14, of even vectors, and zmm15.</summary>
    private static void WriteWeights(Assembler c)
    {
        var loop = c.CreateLabel();
        c.vpxord(zmm14, zmm14, zmm14);
        c.vpxord(zmm15, zmm15, zmm15);
        c.xor(r11d, r11d);
        c.mov(Weights, Scores);
        c.Label(ref loop);
        c.vmovups(zmm0, __zmmword_ptr[Scores + At]);
        c.vmovups(zmm1, __zmmword_ptr[Scores + At + VectorBytes]);
        c.vfmsub213ps(zmm0, Scale, Max);
        c.vfmsub213ps(zmm1, Scale, Max);
        SoftmaxCode.WritePower(c, zmm0, zmm4, zmm5);
        SoftmaxCode.WritePower(c, zmm1, zmm6, zmm7);
        c.vaddps(zmm14, zmm14, zmm0);
        c.vaddps(zmm15, zmm15, zmm1);
        c.vcvtne2ps2bf16(zmm0, zmm1, zmm0);
        c.vmovups(__zmmword_ptr[Weights], zmm0);
        c.add(Weights, VectorBytes);
        c.add(At, StepBytes);
        c.cmp(At, ScoreBytes);
        c.jb(loop);
    }

    /// <summary>The sum of weights, and the row's values rescaled.</summary>
    private static void WriteState(Assembler c)
    {
        var (loop, done) = (c.CreateLabel(), c.CreateLabel());
        c.vaddps(zmm0, zmm14, zmm15);
        SoftmaxCode.WriteSumOfLanes(c);
        SoftmaxCode.WritePower(c, zmm2, zmm4, zmm5);
        c.vmovss(xmm1, __dword_ptr[Sums]);
        c.vmulss(xmm1, xmm1, xmm2);
        c.vaddss(xmm1, xmm1, xmm0);
        c.vmovss(__dword_ptr[Sums], xmm1);

        // Nothing changes where the maximum stays.
        c.vucomiss(xmm2, xmm10); // One.
        c.je(done);
        c.xor(r11d, r11d);
        c.Label(ref loop);
        c.vmulps(zmm0, zmm2, __zmmword_ptr[Values + At]);
        c.vmovups(__zmmword_ptr[Values + At], zmm0);
        c.add(At, VectorBytes);
        c.cmp(At, ValueBytes);
        c.jb(loop);
        c.Label(ref done);
    }
}
