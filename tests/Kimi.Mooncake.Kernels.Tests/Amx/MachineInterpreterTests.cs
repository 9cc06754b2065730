using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Tests.Amx;

/// <summary>The interpreter against the processor, on the instructions that both have.</summary>
internal sealed unsafe class MachineInterpreterTests
{
    private const int VectorBytes = 64;
    private const int Vectors = 4;
    private const int Rounds = 2000;

    private static readonly float[] Extremes =
    [
        0, -0f, 1, -1, float.Epsilon, -float.Epsilon, 1.17549435e-38f, 1.1754942e-38f, float.MaxValue, float.MinValue,
        float.PositiveInfinity, 1 + 1.1920929e-7f, 16777216, 16777215, 0.1f, 3.4e-20f, -2.5e19f,
    ];

    private static IEnumerable<TestCaseData> Vectorial()
    {
        yield return Case("vmulps", c => c.vmulps(zmm2, zmm0, zmm1));
        yield return Case("vmulps broadcast", c => c.vmulps(zmm2, zmm0, __dword_bcst[rdi + VectorBytes]));
        yield return Case("vfmadd231ps", c => c.vfmadd231ps(zmm2, zmm0, zmm1));
        yield return Case("vfmadd231ps broadcast", c => c.vfmadd231ps(zmm2, zmm0, __dword_bcst[rdi + VectorBytes]));
        yield return Case("vfmadd231ps memory", c => c.vfmadd231ps(zmm2, zmm0, __zmmword_ptr[rdi + VectorBytes]));
        yield return Case("vfmadd213ps", c => c.vfmadd213ps(zmm2, zmm0, zmm1));
        yield return Case("vfmadd132ps", c => c.vfmadd132ps(zmm2, zmm0, zmm1));
        yield return Case("vcvtdq2ps", c => c.vcvtdq2ps(zmm2, zmm0));
        yield return Case("vcvtdq2ps memory", c => c.vcvtdq2ps(zmm2, __zmmword_ptr[rdi]));
        yield return Case("vcvtdq2ps ymm", c => c.vcvtdq2ps(ymm2, ymm0));
        yield return Case("vpaddd", c => c.vpaddd(zmm2, zmm0, zmm1));
        yield return Case("vpaddd broadcast", c => c.vpaddd(zmm2, zmm0, __dword_bcst[rdi + VectorBytes]));
        yield return Case("vpslld broadcast", c => c.vpslld(zmm2, __dword_bcst[rdi + VectorBytes], 7));
        yield return Case("vpslld", c => c.vpslld(zmm2, zmm0, 31));
        yield return Case("vpxord", c => c.vpxord(zmm2, zmm0, zmm1));
        yield return Case("vbroadcastss", c => c.vbroadcastss(zmm2, __dword_ptr[rdi + 4]));
        yield return Case("vpbroadcastd", c => c.vpbroadcastd(zmm2, xmm1));
        yield return Case("vpdpbusd", c => c.vpdpbusd(zmm2, zmm0, zmm1));
        yield return Case("vmovups ymm", c => c.vmovups(ymm2, __ymmword_ptr[rdi]));
        yield return Case("vzeroupper", c => c.vzeroupper());
    }

    [TestCaseSource(nameof(Vectorial))]
    public void Call_VectorInstruction_IsWhatTheProcessorDoes(Action<Assembler> instruction)
    {
        RequireAvx512();
        using var code = new MachineCode(c =>
        {
            c.vmovups(zmm0, __zmmword_ptr[rdi]);
            c.vmovups(zmm1, __zmmword_ptr[rdi + VectorBytes]);
            c.vmovups(zmm2, __zmmword_ptr[rdi + (2 * VectorBytes)]);
            instruction(c);
            c.vmovups(__zmmword_ptr[rdi + (3 * VectorBytes)], zmm2);
            c.vzeroupper();
            c.ret();
        });
        var random = new Random(7);
        var native = new uint[Vectors * VectorBytes / 4];
        fixed (uint* at = native, interpreted = new uint[native.Length])
        {
            var memory = new MachineMemory();
            memory.Allow(interpreted, Vectors * VectorBytes, writable: true);
            for (var round = 0; round < Rounds; round++)
            {
                for (var i = 0; i < native.Length; i++)
                {
                    interpreted[i] = native[i] = Next(random);
                }

                code.Call(at);
                new MachineInterpreter(code.Bytes, memory).Call(interpreted);

                Assert.That(new ReadOnlySpan<uint>(interpreted, native.Length).SequenceEqual(native),
                    $"round {round}: {string.Join(' ', native.Select(v => v.ToString("x8")))}");
            }
        }
    }

    [Test]
    public void Call_LoopsAndFlags_AreWhatTheProcessorDoes([Values(1, 2, 3, 100, 255)] long start)
    {
        if (!MachineCode.IsSupported)
        {
            Assert.Ignore("skipped: generated routines need Linux on x86-64");
        }

        using var code = new MachineCode(WriteGeneral);
        var native = stackalloc long[4] { start, 5, -7, 1L << 40 };
        var interpreted = stackalloc long[4] { start, 5, -7, 1L << 40 };
        var memory = new MachineMemory();
        memory.Allow(interpreted, 4 * sizeof(long), writable: true);

        code.Call(native);
        new MachineInterpreter(code.Bytes, memory).Call(interpreted);

        Assert.That(new ReadOnlySpan<long>(interpreted, 4).SequenceEqual(new ReadOnlySpan<long>(native, 4)));
    }

    [Test]
    public void Call_InstructionThatItDoesNotKnow_IsRefused()
    {
        if (!MachineCode.IsSupported)
        {
            Assert.Ignore("skipped: generated routines need Linux on x86-64");
        }

        using var code = new MachineCode(c =>
        {
            c.vsubps(zmm0, zmm0, zmm0);
            c.ret();
        });

        Assert.That(() => new MachineInterpreter(code.Bytes, new MachineMemory()).Call(null),
            Throws.TypeOf<NotSupportedException>().With.Message.Contains("vsubps"));
    }

    private static void WriteGeneral(Assembler c)
    {
        Label next = c.CreateLabel(), odd = c.CreateLabel(), even = c.CreateLabel(), less = c.CreateLabel();
        c.push(rbx);
        c.mov(rbx, __qword_ptr[rdi]);
        c.mov(r8d, 64);
        c.Label(ref next);
        c.imul(rax, rbx, 3);
        c.add(__qword_ptr[rdi + 8], rax);
        c.lea(rcx, __[rax + (r8 * 4) - 3]);
        c.cmp(rcx, __qword_ptr[rdi + 16]);
        c.jl(less);
        c.sub(__qword_ptr[rdi + 24], rcx);
        c.Label(ref less);
        c.test(ebx, 1);
        c.jne(odd);
        c.add(__qword_ptr[rdi + 16], rcx);
        c.jmp(even);
        c.Label(ref odd);
        c.sub(__qword_ptr[rdi + 16], 1000);
        c.Label(ref even);
        c.dec(rbx);
        c.jne(next);
        c.mov(__qword_ptr[rdi], rcx);
        c.pop(rbx);
        c.ret();
    }

    private static uint Next(Random random) => random.Next(8) switch
    {
        0 => BitConverter.SingleToUInt32Bits(Extremes[random.Next(Extremes.Length)]),
        1 => (uint)random.Next(300),
        _ => Finite((uint)random.NextInt64(1L << 32)),
    };

    /// <summary>Which of two NaNs a product takes over is no arithmetic that anything here depends on.</summary>
    private static uint Finite(uint bits) => (bits & 0x7f800000) == 0x7f800000 ? bits & 0xbfffffff : bits;

    private static TestCaseData Case(string name, Action<Assembler> instruction) =>
        new TestCaseData(instruction).SetArgDisplayNames(name);

    private static void RequireAvx512()
    {
        if (!InstructionPaths.IsSupported(InstructionPath.Avx512))
        {
            Assert.Ignore("skipped: this machine has no AVX-512 VNNI and BF16");
        }
    }
}
