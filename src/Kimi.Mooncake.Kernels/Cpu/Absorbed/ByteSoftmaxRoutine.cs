using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>Writes <see cref="ByteSoftmax.Weigh"/> with AVX-512.</summary>
internal static partial class ByteSoftmaxRoutine
{
    private const int VectorBytes = 64;
    private const int BlockBytes = ByteSoftmax.BlockKeys * sizeof(float);
    private const int BlockVectors = BlockBytes / VectorBytes;
    private const int ScoreBytes = ByteKernels.ScoreStride * sizeof(float);
    private const int RowBytes = ByteRows.Bytes;
    private const int UnitBytes = ByteRows.Count * sizeof(float);
    private const int TileScaleBytes = KeyTiles.TileKeys * sizeof(float);
    private const int ByteBits = 8;
    private const int RowShift = 3; // Rows of a batch.
    private const int LowByte = 0xff00ff;

    private static AssemblerRegister64 Scores => rax;

    private static AssemblerRegister64 Head => rcx;

    private static AssemblerRegister64 Width => rdx;

    /// <summary>Weights of the head, and of its lower part.</summary>
    private static AssemblerRegister64 Upper => rsi;

    private static AssemblerRegister64 Lower => rbx;

    private static AssemblerRegister64 Maxima => r8;

    private static AssemblerRegister64 Sums => r9;

    /// <summary>Until rows are written.</summary>
    private static AssemblerRegister64 Rescale => rbx;

    private static AssemblerRegister64 Units => r12;

    private static AssemblerRegister64 At => r10;

    private static AssemblerRegister64 Scratch => r11;

    private static AssemblerRegister64 GroupsLeft => r13;

    private static AssemblerRegister64 ScaleAt => r14;

    private static AssemblerRegister64 LowRow => r15;

    private static AssemblerRegister64 RowAt => rbp;

    private static AssemblerRegisterZMM Scale => zmm8;

    private static AssemblerRegisterZMM Max => zmm9;

    private static AssemblerRegisterZMM Greatest => zmm25;

    private static AssemblerRegisterZMM Factor => zmm26;

    private static AssemblerRegisterZMM Order => zmm27;

    private static AssemblerRegisterZMM LowMask => zmm28;

    /// <summary>The routine; its argument is a <see cref="ByteWeights"/>.</summary>
    internal static void Write(Assembler c)
    {
        RoutineFrame.Enter(c);
        (AssemblerRegister64 Register, string Member)[] arguments =
        [
            (Width, nameof(ByteWeights.ScoreBytes)), (Maxima, nameof(ByteWeights.Maxima)),
            (Sums, nameof(ByteWeights.Sums)), (Rescale, nameof(ByteWeights.Rescale)),
            (Units, nameof(ByteWeights.Units)),
        ];
        foreach (var (register, member) in arguments)
        {
            RoutineFrame.Load<ByteWeights>(c, register, member);
        }

        c.vbroadcastss(Scale, __dword_ptr[RoutineFrame.At<ByteWeights>(nameof(ByteWeights.Scale))]);
        SoftmaxCode.WriteConstants(c);
        WriteOrder(c);
        c.mov(r11d, LowByte);
        c.vpbroadcastd(LowMask, r11d);
        RoutineFrame.Load<ByteWeights>(c, LowRow, nameof(ByteWeights.LowRows));

        // One thing for all heads after another: what waits for a head's last result is not in the way of the next's.
        WriteHeads(c, WriteMax);
        WriteHeads(c, WriteWeights);
        WriteHeads(c, WriteRows);
        c.mov(__qword_ptr[RoutineFrame.At<ByteWeights>(nameof(ByteWeights.LowRows))], LowRow);
        RoutineFrame.Leave(c);
    }

    private static void WriteHeads(Assembler c, Action<Assembler> write)
    {
        var head = c.CreateLabel();
        RoutineFrame.Load<ByteWeights>(c, Scores, nameof(ByteWeights.Scores));
        RoutineFrame.Load<ByteWeights>(c, Upper, nameof(ByteWeights.Weights));
        c.xor(ecx, ecx);
        c.Label(ref head);
        write(c);
        c.add(Scores, ScoreBytes);
        c.add(Upper, RowBytes);
        c.inc(Head);
        c.cmp(Head, KeyTiles.Heads);
        c.jne(head);
    }

    /// <summary>Packing leaves words of four keys by quarters of the register; this is their order.</summary>
    private static void WriteOrder(Assembler c)
    {
        c.sub(rsp, VectorBytes);
        for (var i = 0; i < VectorBytes / sizeof(uint); i++)
        {
            c.mov(__dword_ptr[rsp + (i * sizeof(uint))], (i / BlockVectors) + (i % BlockVectors * BlockVectors));
        }

        c.vmovdqu32(Order, __zmmword_ptr[rsp]);
        c.add(rsp, VectorBytes);
    }

    /// <summary>The new maximum; the exponent that rescales, in place of the factor.</summary>
    private static void WriteMax(Assembler c)
    {
        var loop = c.CreateLabel();
        c.vmovups(zmm0, __zmmword_ptr[Scores]);
        c.vmovups(zmm1, __zmmword_ptr[Scores + VectorBytes]);
        c.mov(At, 2 * VectorBytes);
        c.Label(ref loop);
        c.vmaxps(zmm0, zmm0, __zmmword_ptr[Scores + At]);
        c.vmaxps(zmm1, zmm1, __zmmword_ptr[Scores + At + VectorBytes]);
        c.add(At, 2 * VectorBytes);
        c.cmp(At, Width);
        c.jb(loop);
        c.vmaxps(zmm0, zmm0, zmm1);
        SoftmaxCode.WriteMaxOfLanes(c);
        c.vmulss(xmm0, xmm0, xmm8); // Scale.
        c.vmovss(xmm1, __dword_ptr[Maxima + (Head * sizeof(float))]);
        c.vmaxss(xmm0, xmm0, xmm1);
        c.vsubss(xmm2, xmm1, xmm0);
        c.vmovss(__dword_ptr[Maxima + (Head * sizeof(float))], xmm0);
        c.vmovss(__dword_ptr[Rescale + (Head * sizeof(float))], xmm2);
    }

    /// <summary>
    /// Weights; their sum, the factor of the sums before, and the greatest weight, in place of the first unit.
    /// </summary>
    private static void WriteWeights(Assembler c)
    {
        // Sums of even vectors in zmm14, of odd ones in zmm15; the greatest in zmm16 and zmm17.
        var loop = c.CreateLabel();
        c.vbroadcastss(Max, __dword_ptr[Maxima + (Head * sizeof(float))]);
        foreach (var zero in (AssemblerRegisterZMM[])[zmm14, zmm15, zmm16, zmm17])
        {
            c.vpxord(zero, zero, zero);
        }

        c.xor(r10d, r10d);
        c.Label(ref loop);
        c.vmovups(zmm0, __zmmword_ptr[Scores + At]);
        c.vmovups(zmm1, __zmmword_ptr[Scores + At + VectorBytes]);
        c.vfmsub213ps(zmm0, Scale, Max);
        c.vfmsub213ps(zmm1, Scale, Max);
        SoftmaxCode.WritePower(c, zmm0, zmm4, zmm5);
        SoftmaxCode.WritePower(c, zmm1, zmm6, zmm7);
        c.vaddps(zmm14, zmm14, zmm0);
        c.vaddps(zmm15, zmm15, zmm1);
        c.vmaxps(zmm16, zmm16, zmm0);
        c.vmaxps(zmm17, zmm17, zmm1);
        c.vmovups(__zmmword_ptr[Scores + At], zmm0);
        c.vmovups(__zmmword_ptr[Scores + At + VectorBytes], zmm1);
        c.add(At, 2 * VectorBytes);
        c.cmp(At, Width);
        c.jb(loop);
        c.vmovss(xmm2, __dword_ptr[Rescale + (Head * sizeof(float))]);
        SoftmaxCode.WritePower(c, zmm2, zmm4, zmm5);
        c.vmovss(__dword_ptr[Rescale + (Head * sizeof(float))], xmm2);
        c.vaddps(zmm0, zmm14, zmm15);
        SoftmaxCode.WriteSumOfLanes(c);
        c.vmovss(xmm3, __dword_ptr[Sums + (Head * sizeof(float))]);
        c.vmulss(xmm3, xmm3, xmm2);
        c.vaddss(xmm3, xmm3, xmm0);
        c.vmovss(__dword_ptr[Sums + (Head * sizeof(float))], xmm3);
        c.vmaxps(zmm0, zmm16, zmm17);
        SoftmaxCode.WriteMaxOfLanes(c);
        c.vmovss(__dword_ptr[Units + (Head * sizeof(float))], xmm0);
    }
}
