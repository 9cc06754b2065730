using Iced.Intel;
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
    private const byte ToNearest = 8; // Of vrndscaleps: whole numbers, halves to even, no exceptions.
    private const byte GreaterThan = 30; // Of vcmpps: ordered, no exceptions.
    private const byte SwapHalves = 0x4e;
    private const byte SwapPairs = 0xb1;

    // Above -127: whole exponents whose power of two is not zero.
    private const float WholeMin = -126.5f;

    private static readonly AssemblerRegisterZMM[] Coefficients = [zmm18, zmm19, zmm20, zmm21, zmm22, zmm23];

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

    private static AssemblerRegisterZMM One => zmm10;

    private static AssemblerRegisterZMM Least => zmm11;

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
        for (var i = 0; i < Coefficients.Length; i++)
        {
            WriteConstant(c, Coefficients[i], VectorMath.Exp2Coefficients[i]);
        }

        WriteConstant(c, One, 1);
        WriteConstant(c, Least, WholeMin);
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

    private static void WriteConstant(Assembler c, AssemblerRegisterZMM register, float value)
    {
        c.mov(r11d, BitConverter.SingleToInt32Bits(value));
        c.vpbroadcastd(register, r11d);
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
        c.vextractf64x4(ymm1, zmm0, 1);
        c.vmaxps(ymm0, ymm0, ymm1);
        c.vextractf128(xmm1, ymm0, 1);
        c.vmaxps(xmm0, xmm0, xmm1);
        c.vpermilps(xmm1, xmm0, SwapHalves);
        c.vmaxps(xmm0, xmm0, xmm1);
        c.vpermilps(xmm1, xmm0, SwapPairs);
        c.vmaxps(xmm0, xmm0, xmm1);
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
        WritePower(c, zmm0, zmm4, zmm5);
        WritePower(c, zmm1, zmm6, zmm7);
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
        c.vextractf64x4(ymm1, zmm0, 1);
        c.vaddps(ymm0, ymm0, ymm1);
        c.vextractf128(xmm1, ymm0, 1);
        c.vaddps(xmm0, xmm0, xmm1);
        c.vpermilps(xmm1, xmm0, SwapHalves);
        c.vaddps(xmm0, xmm0, xmm1);
        c.vpermilps(xmm1, xmm0, SwapPairs);
        c.vaddss(xmm0, xmm0, xmm1);
        WritePower(c, zmm2, zmm4, zmm5);
        c.vmovss(xmm1, __dword_ptr[Sums]);
        c.vmulss(xmm1, xmm1, xmm2);
        c.vaddss(xmm1, xmm1, xmm0);
        c.vmovss(__dword_ptr[Sums], xmm1);

        // Nothing changes where the maximum stays.
        c.vucomiss(xmm2, xmm10);
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

    /// <summary>2^x, as <see cref="VectorMath.Exp2"/>.</summary>
    private static void WritePower(
        Assembler c, AssemblerRegisterZMM x, AssemblerRegisterZMM whole, AssemblerRegisterZMM p)
    {
        c.vrndscaleps(whole, x, ToNearest);
        c.vsubps(x, x, whole);
        c.vmovaps(p, Coefficients[^1]);
        for (var i = Coefficients.Length - 2; i >= 0; i--)
        {
            c.vfmadd213ps(p, x, Coefficients[i]);
        }

        c.vfmadd213ps(p, x, One);
        c.vcmpps(k1, whole, Least, GreaterThan);
        c.vscalefps(x.k1.z, p, whole);
    }
}
