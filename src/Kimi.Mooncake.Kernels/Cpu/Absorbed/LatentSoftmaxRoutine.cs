using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>Writes <see cref="LatentSoftmax.Weigh"/> with the instructions for powers of two and bfloat16.</summary>
internal static class LatentSoftmaxRoutine
{
    private const int PointerBytes = 8;
    private const int VectorBytes = 64;
    private const int ScoreStrideAt = PointerBytes;
    private const int ScaleAt = 7 * PointerBytes;
    private const byte NotLess = 21; // Of vcmpps: or unordered, no exceptions.

    private static AssemblerRegister64 Scores => rax;

    private static AssemblerRegister64 Heads => rcx;

    private static AssemblerRegister64 WeightBytes => rdx;

    private static AssemblerRegister64 Weights => rsi;

    private static AssemblerRegister64 Maxima => r8;

    private static AssemblerRegister64 Sums => r9;

    private static AssemblerRegister64 Rescale => r10;

    /// <summary>Bytes of weights; scores have twice as many.</summary>
    private static AssemblerRegister64 At => r11;

    private static AssemblerRegisterZMM Scale => zmm8;

    private static AssemblerRegisterZMM Max => zmm9;

    private static AssemblerRegisterZMM WeightMin => zmm12;

    /// <summary>The routine; its argument is a <see cref="LatentWeights"/>.</summary>
    internal static void Write(Assembler c)
    {
        (AssemblerRegister64 Register, int Index)[] arguments =
            [(Scores, 0), (WeightBytes, 2), (Weights, 3), (Maxima, 4), (Sums, 5), (Rescale, 6)];
        foreach (var (register, index) in arguments)
        {
            c.mov(register, __qword_ptr[rdi + (index * PointerBytes)]);
        }

        c.vbroadcastss(Scale, __dword_ptr[rdi + ScaleAt]);
        SoftmaxCode.WriteConstants(c);
        SoftmaxCode.WriteConstant(c, WeightMin, LatentSoftmax.WeightMin);
        c.mov(Heads, LatentKernels.Heads);
        var head = c.CreateLabel();
        c.Label(ref head);
        WriteMax(c);
        WriteWeights(c);
        WriteState(c);
        c.add(Scores, __qword_ptr[rdi + ScoreStrideAt]);
        c.add(Weights, LatentKernels.WeightStride * sizeof(ushort));
        c.add(Maxima, sizeof(float));
        c.add(Sums, sizeof(float));
        c.add(Rescale, sizeof(float));
        c.dec(Heads);
        c.jne(head);
        c.vzeroupper();
        c.ret();
    }

    /// <summary>The new maximum everywhere in <see cref="Max"/>; the exponent that rescales in xmm2.</summary>
    private static void WriteMax(Assembler c)
    {
        var (loop, done) = (c.CreateLabel(), c.CreateLabel());
        c.vmovups(zmm0, __zmmword_ptr[Scores]);
        c.vmovups(zmm1, __zmmword_ptr[Scores + VectorBytes]);
        c.mov(At, VectorBytes);
        c.Label(ref loop);
        c.cmp(At, WeightBytes);
        c.jae(done);
        c.vmaxps(zmm0, zmm0, __zmmword_ptr[Scores + (At * 2)]);
        c.vmaxps(zmm1, zmm1, __zmmword_ptr[Scores + (At * 2) + VectorBytes]);
        c.add(At, VectorBytes);
        c.jmp(loop);
        c.Label(ref done);
        c.vmaxps(zmm0, zmm0, zmm1);
        SoftmaxCode.WriteMaxOfLanes(c);
        c.vmulss(xmm0, xmm0, xmm8); // Scale.
        c.vmovss(xmm1, __dword_ptr[Maxima]);
        c.vmaxss(xmm0, xmm0, xmm1);
        c.vsubss(xmm2, xmm1, xmm0);
        c.vmovss(__dword_ptr[Maxima], xmm0);
        c.vbroadcastss(Max, xmm0);
    }

    /// <summary>Weights; their sums in zmm14, of even vectors, and zmm15.</summary>
    private static void WriteWeights(Assembler c)
    {
        var loop = c.CreateLabel();
        c.vpxord(zmm14, zmm14, zmm14);
        c.vpxord(zmm15, zmm15, zmm15);
        c.xor(r11d, r11d);
        c.Label(ref loop);
        c.vmovups(zmm0, __zmmword_ptr[Scores + (At * 2)]);
        c.vmovups(zmm1, __zmmword_ptr[Scores + (At * 2) + VectorBytes]);
        c.vfmsub213ps(zmm0, Scale, Max);
        c.vfmsub213ps(zmm1, Scale, Max);
        SoftmaxCode.WritePower(c, zmm0, zmm4, zmm5);
        SoftmaxCode.WritePower(c, zmm1, zmm6, zmm7);
        c.vaddps(zmm14, zmm14, zmm0);
        c.vaddps(zmm15, zmm15, zmm1);
        c.vcmpps(k2, zmm0, WeightMin, NotLess);
        c.vcmpps(k3, zmm1, WeightMin, NotLess);
        c.vmovaps(zmm0.k2.z, zmm0);
        c.vmovaps(zmm1.k3.z, zmm1);
        c.vcvtne2ps2bf16(zmm0, zmm1, zmm0);
        c.vmovups(__zmmword_ptr[Weights + At], zmm0);
        c.add(At, VectorBytes);
        c.cmp(At, WeightBytes);
        c.jb(loop);
    }

    /// <summary>The sum of weights, and the factor of the sums before.</summary>
    private static void WriteState(Assembler c)
    {
        SoftmaxCode.WritePower(c, zmm2, zmm4, zmm5);
        c.vmovss(__dword_ptr[Rescale], xmm2);
        c.vaddps(zmm0, zmm14, zmm15);
        SoftmaxCode.WriteSumOfLanes(c);
        c.vmovss(xmm1, __dword_ptr[Sums]);
        c.vmulss(xmm1, xmm1, xmm2);
        c.vaddss(xmm1, xmm1, xmm0);
        c.vmovss(__dword_ptr[Sums], xmm1);
    }
}
