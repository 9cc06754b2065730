using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Generated;

/// <summary>What routines of <see cref="MachineCode"/> have in common: registers, entry and return.</summary>
internal static class RoutineFrame
{
    private static readonly AssemblerRegisterZMM[] Vectors =
    [
        zmm0, zmm1, zmm2, zmm3, zmm4, zmm5, zmm6, zmm7, zmm8, zmm9, zmm10, zmm11, zmm12, zmm13, zmm14, zmm15,
        zmm16, zmm17, zmm18, zmm19, zmm20, zmm21, zmm22, zmm23, zmm24, zmm25, zmm26, zmm27, zmm28, zmm29, zmm30, zmm31,
    ];

    private static readonly AssemblerRegisterYMM[] Halves =
    [
        ymm0, ymm1, ymm2, ymm3, ymm4, ymm5, ymm6, ymm7, ymm8, ymm9, ymm10, ymm11, ymm12, ymm13, ymm14, ymm15,
        ymm16, ymm17, ymm18, ymm19, ymm20, ymm21, ymm22, ymm23, ymm24, ymm25, ymm26, ymm27, ymm28, ymm29, ymm30, ymm31,
    ];

    private static readonly AssemblerRegisterXMM[] Quarters =
    [
        xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7, xmm8, xmm9, xmm10, xmm11, xmm12, xmm13, xmm14, xmm15,
        xmm16, xmm17, xmm18, xmm19, xmm20, xmm21, xmm22, xmm23, xmm24, xmm25, xmm26, xmm27, xmm28, xmm29, xmm30, xmm31,
    ];

    // What the convention wants back as it was.
    private static readonly AssemblerRegister64[] Kept = [rbx, rbp, r12, r13, r14, r15];

    /// <summary>The pointer that a routine is called with.</summary>
    internal static AssemblerRegister64 Argument => rdi;

    /// <summary>A vector register by number.</summary>
    internal static AssemblerRegisterZMM Vector(int number) => Vectors[number];

    /// <summary>Its lower half.</summary>
    internal static AssemblerRegisterYMM Half(int number) => Halves[number];

    /// <summary>Its lowest quarter.</summary>
    internal static AssemblerRegisterXMM Quarter(int number) => Quarters[number];

    /// <summary>Begins a routine that may use every register but the stack's.</summary>
    internal static void Enter(Assembler c)
    {
        // The shorter encoding knows no masks and half the registers.
        c.PreferVex = false;
        foreach (var register in Kept)
        {
            c.push(register);
        }
    }

    /// <summary>Ends it.</summary>
    internal static void Leave(Assembler c)
    {
        foreach (var register in Kept.Reverse())
        {
            c.pop(register);
        }

        c.vzeroupper();
        c.ret();
    }

    /// <summary>Where a member of a routine's arguments is.</summary>
    /// <typeparam name="T">What the argument points to.</typeparam>
    internal static AssemblerMemoryOperand At<T>(string member)
        where T : unmanaged =>
        Argument + (int)Marshal.OffsetOf<T>(member);

    /// <summary>Reads a member of a routine's arguments.</summary>
    /// <typeparam name="T">What the argument points to.</typeparam>
    internal static void Load<T>(Assembler c, AssemblerRegister64 register, string member)
        where T : unmanaged =>
        c.mov(register, __qword_ptr[At<T>(member)]);

    /// <summary>From a stride in the first register, three, five and seven times it in the others.</summary>
    internal static void OddMultiples(Assembler c, ReadOnlySpan<AssemblerRegister64> strides)
    {
        var one = strides[0];
        for (var i = 1; i < strides.Length; i++)
        {
            if (i < 3)
            {
                c.lea(strides[i], __[one + (one * (2 * i))]);
            }
            else
            {
                c.lea(strides[i], __[strides[1] + (one * 4)]);
            }
        }
    }
}
