using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Generated;

/// <summary>
/// Pieces of generated softmax routines, with the instructions that take a number apart at its binary point and scale
/// by a power of two. The bits are those of <see cref="VectorMath"/>. They use zmm10, zmm11, zmm18 to zmm24 and k1.
/// </summary>
internal static class SoftmaxCode
{
    private const byte ToNearest = 8; // Of vrndscaleps: whole numbers, halves to even, no exceptions.
    private const byte GreaterThan = 30; // Of vcmpps: ordered, no exceptions.
    private const byte SwapHalves = 0x4e;
    private const byte SwapPairs = 0xb1;

    // Above -127: whole exponents whose power of two is not zero.
    private const float WholeMin = -126.5f;

    private static readonly AssemblerRegisterZMM[] Coefficients = [zmm18, zmm19, zmm20, zmm21, zmm22, zmm23];

    /// <summary>Ones.</summary>
    internal static AssemblerRegisterZMM One => zmm10;

    private static AssemblerRegisterZMM Least => zmm11;

    private static AssemblerRegisterZMM Most => zmm24;

    /// <summary>Constants of the other pieces, by way of r11.</summary>
    internal static void WriteConstants(Assembler c)
    {
        for (var i = 0; i < Coefficients.Length; i++)
        {
            WriteConstant(c, Coefficients[i], VectorMath.Exp2Coefficients[i]);
        }

        WriteConstant(c, One, 1);
        WriteConstant(c, Least, WholeMin);
        WriteConstant(c, Most, VectorMath.PowerMax);
    }

    /// <summary>A value in all lanes, by way of r11.</summary>
    internal static void WriteConstant(Assembler c, AssemblerRegisterZMM register, float value)
    {
        c.mov(r11d, BitConverter.SingleToInt32Bits(value));
        c.vpbroadcastd(register, r11d);
    }

    /// <summary>The greatest lane of zmm0 to its first, by way of zmm1.</summary>
    internal static void WriteMaxOfLanes(Assembler c)
    {
        c.vextractf64x4(ymm1, zmm0, 1);
        c.vmaxps(ymm0, ymm0, ymm1);
        c.vextractf128(xmm1, ymm0, 1);
        c.vmaxps(xmm0, xmm0, xmm1);
        c.vpermilps(xmm1, xmm0, SwapHalves);
        c.vmaxps(xmm0, xmm0, xmm1);
        c.vpermilps(xmm1, xmm0, SwapPairs);
        c.vmaxps(xmm0, xmm0, xmm1);
    }

    /// <summary>The sum of the lanes of zmm0 to its first, by way of zmm1.</summary>
    internal static void WriteSumOfLanes(Assembler c)
    {
        c.vextractf64x4(ymm1, zmm0, 1);
        c.vaddps(ymm0, ymm0, ymm1);
        c.vextractf128(xmm1, ymm0, 1);
        c.vaddps(xmm0, xmm0, xmm1);
        c.vpermilps(xmm1, xmm0, SwapHalves);
        c.vaddps(xmm0, xmm0, xmm1);
        c.vpermilps(xmm1, xmm0, SwapPairs);
        c.vaddss(xmm0, xmm0, xmm1);
    }

    /// <summary>2^x, as <see cref="VectorMath.Exp2"/>.</summary>
    internal static void WritePower(
        Assembler c, AssemblerRegisterZMM x, AssemblerRegisterZMM whole, AssemblerRegisterZMM p)
    {
        // What is no number stays so, and counts as 0 below.
        c.vminps(x, Most, x);
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
