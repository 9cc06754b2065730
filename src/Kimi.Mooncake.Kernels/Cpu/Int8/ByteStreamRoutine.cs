using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>
/// Writes the product of one row of bytes with 16 stored rows of Q8_0 at a time: two blocks of each are multiplied where
/// they stand, and the sums of all 16 are turned into two vectors. Nothing goes from memory to sums but through
/// registers, which for a single row takes half the instructions of making a tile first.
/// </summary>
internal static class ByteStreamRoutine
{
    /// <summary>Stored rows of a group.</summary>
    internal const int StoredRows = 16;

    /// <summary>Inputs that are multiplied at once.</summary>
    internal const int PairValues = 64;

    private const int BlockBytes = 34;
    private const int ScaleBytes = 2;
    private const int LineBytes = 64;
    private const int PairLines = 2 * BlockBytes * StoredRows / LineBytes;
    private const int ZeroShift = 7;
    private const int RowsOfPointer = 4;
    private const byte EvenQuarters = 0x88;
    private const byte OddQuarters = 0xdd;

    private static readonly AssemblerRegister64 Run = rdi;
    private static readonly AssemblerRegister64[] Rows = [rsi, r8, r9, r10];
    private static readonly AssemblerRegister64 Stride = rdx;
    private static readonly AssemblerRegister64 Stride3 = rax;
    private static readonly AssemblerRegister64 X = r11;
    private static readonly AssemblerRegister64 Pairs = rcx;
    private static readonly AssemblerRegister64 Scales = rbx;
    private static readonly AssemblerRegister64 Sums = rbp;
    private static readonly AssemblerRegister64 Ahead = r12;
    private static readonly AssemblerRegister64 Groups = r13;
    private static readonly AssemblerRegister64 Y = r14;
    private static readonly AssemblerRegister64 GroupBytes = r15;
    private static readonly AssemblerRegister64[] Kept = [rbx, rbp, r12, r13, r14, r15];

    private static readonly AssemblerRegisterZMM[] Products = [zmm0, zmm1, zmm2, zmm3];
    private static readonly AssemblerRegisterZMM[] Weights = [zmm4, zmm5, zmm6, zmm7];
    private static readonly AssemblerRegisterYMM[] LowerWeights = [ymm4, ymm5, ymm6, ymm7];
    private static readonly AssemblerRegisterZMM[] Quads = [zmm16, zmm17, zmm18, zmm19];
    private static readonly AssemblerRegisterXMM[] Halves = [xmm20, xmm21, xmm22, xmm23];
    private static readonly AssemblerRegisterZMM Inputs = zmm29;
    private static readonly AssemblerRegisterZMM Signs = zmm30;
    private static readonly AssemblerRegisterZMM Results = zmm31;

    /// <summary>The routine; its argument is a <see cref="ByteStream"/>.</summary>
    internal static void Write(Assembler c)
    {
        // The shorter encoding knows no masks and half the registers.
        c.PreferVex = false;
        foreach (var register in Kept)
        {
            c.push(register);
        }

        c.mov(eax, 0x80808080);
        c.vpbroadcastd(Signs, eax);
        Mask(c, k1, 1);
        Mask(c, k2, 2);
        Mask(c, k3, 3);
        Load(c, Stride, nameof(ByteStream.Stride));
        c.lea(Stride3, __[Stride + (Stride * 2)]);
        c.mov(GroupBytes, Stride);
        c.shl(GroupBytes, 4);
        Load(c, Rows[0], nameof(ByteStream.Rows));
        Load(c, Groups, nameof(ByteStream.Groups));
        Load(c, Y, nameof(ByteStream.Y));

        var (nextGroup, nextPair, within) = (c.CreateLabel(), c.CreateLabel(), c.CreateLabel());
        c.Label(ref nextGroup);
        for (var i = 1; i < Rows.Length; i++)
        {
            c.lea(Rows[i], __[Rows[i - 1] + (Stride * RowsOfPointer)]);
        }

        c.lea(Ahead, __[Rows[0] + GroupBytes]);
        c.cmp(Groups, 1);
        c.jne(within);
        Load(c, Ahead, nameof(ByteStream.Afterwards));
        c.Label(ref within);
        Load(c, X, nameof(ByteStream.X));
        Load(c, Scales, nameof(ByteStream.Scales));
        Load(c, Sums, nameof(ByteStream.Sums));
        Load(c, Pairs, nameof(ByteStream.Pairs));
        c.vpxord(Results, Results, Results);

        c.Label(ref nextPair);
        Pair(c);
        c.dec(Pairs);
        c.jne(nextPair);

        c.vmovups(__zmmword_ptr[Y], Results);
        c.add(Y, LineBytes);
        // The pointer has gone through its row, which ends where the next one begins.
        c.sub(Rows[0], Stride);
        c.add(Rows[0], GroupBytes);
        c.dec(Groups);
        c.jne(nextGroup);

        foreach (var register in Kept.Reverse())
        {
            c.pop(register);
        }

        c.vzeroupper();
        c.ret();
    }

    private static void Load(Assembler c, AssemblerRegister64 register, string member) =>
        c.mov(register, __qword_ptr[Run + (int)Marshal.OffsetOf<ByteStream>(member)]);

    private static void Mask(Assembler c, AssemblerRegisterK mask, int lane)
    {
        c.mov(eax, 1 << lane);
        c.kmovw(mask, eax);
    }

    private static AssemblerMemoryOperand Row(int row, int offset) => (row % RowsOfPointer) switch
    {
        0 => Rows[row / RowsOfPointer] + offset,
        1 => Rows[row / RowsOfPointer] + Stride + offset,
        2 => Rows[row / RowsOfPointer] + (Stride * 2) + offset,
        _ => Rows[row / RowsOfPointer] + Stride3 + offset,
    };

    private static void Pair(Assembler c)
    {
        c.vmovdqu32(Inputs, __zmmword_ptr[X]);
        for (var quad = 0; quad < Quads.Length; quad++)
        {
            FourRows(c, quad);
            for (var line = quad; line < PairLines; line += Quads.Length)
            {
                c.prefetcht0(__byte_ptr[Ahead + (line * LineBytes)]);
            }
        }

        var (first, second) = (zmm4, zmm5);
        SumQuarters(c, zmm0, Quads[0], Quads[1]);
        SumQuarters(c, zmm2, Quads[2], Quads[3]);
        c.vshufi32x4(first, zmm0, zmm2, EvenQuarters);
        c.vshufi32x4(second, zmm0, zmm2, OddQuarters);
        AddBlock(c, first, 0);
        AddBlock(c, second, 1);
        foreach (var row in Rows)
        {
            c.add(row, 2 * BlockBytes);
        }

        c.add(X, PairValues);
        c.add(Scales, 2 * sizeof(float));
        c.add(Sums, 2 * sizeof(int));
        c.add(Ahead, PairLines * LineBytes);
    }

    /// <summary>Two blocks of four rows: in each quarter of the result, four words' sum for each row.</summary>
    private static void FourRows(Assembler c, int quad)
    {
        for (var i = 0; i < RowsOfPointer; i++)
        {
            var row = (quad * RowsOfPointer) + i;
            c.vmovdqu(LowerWeights[i], __ymmword_ptr[Row(row, ScaleBytes)]);
            c.vinserti64x4(Weights[i], Weights[i], __ymmword_ptr[Row(row, BlockBytes + ScaleBytes)], 1);
            c.vpxord(Products[i], Products[i], Products[i]);
            c.vpxord(Weights[i], Weights[i], Signs);
            c.vpdpbusd(Products[i], Weights[i], Inputs);
        }

        c.vpunpckldq(zmm8, zmm0, zmm1);
        c.vpunpckhdq(zmm9, zmm0, zmm1);
        c.vpunpckldq(zmm10, zmm2, zmm3);
        c.vpunpckhdq(zmm11, zmm2, zmm3);
        c.vpaddd(zmm8, zmm8, zmm9);
        c.vpaddd(zmm10, zmm10, zmm11);
        c.vpunpcklqdq(zmm12, zmm8, zmm10);
        c.vpunpckhqdq(zmm13, zmm8, zmm10);
        c.vpaddd(Quads[quad], zmm12, zmm13);
    }

    /// <summary>The sums of both halves of two vectors, in turns.</summary>
    private static void SumQuarters(
        Assembler c, AssemblerRegisterZMM target, AssemblerRegisterZMM left, AssemblerRegisterZMM right)
    {
        c.vshufi32x4(target, left, right, EvenQuarters);
        c.vshufi32x4(zmm8, left, right, OddQuarters);
        c.vpaddd(target, target, zmm8);
    }

    private static void AddBlock(Assembler c, AssemblerRegisterZMM sums, int block)
    {
        for (var quad = 0; quad < Quads.Length; quad++)
        {
            var halves = Halves[quad];
            var row = quad * RowsOfPointer;
            c.vmovd(halves, __dword_ptr[Row(row, block * BlockBytes)]);
            c.vpbroadcastd(halves.k1, __dword_ptr[Row(row + 1, block * BlockBytes)]);
            c.vpbroadcastd(halves.k2, __dword_ptr[Row(row + 2, block * BlockBytes)]);
            c.vpbroadcastd(halves.k3, __dword_ptr[Row(row + 3, block * BlockBytes)]);
        }

        c.vinserti32x4(ymm20, ymm20, xmm21, 1);
        c.vinserti32x4(ymm22, ymm22, xmm23, 1);
        c.vinserti64x4(zmm20, zmm20, ymm22, 1);
        c.vpmovdw(ymm20, zmm20);
        c.vcvtph2ps(zmm20, ymm20);
        c.vmulps(zmm20, zmm20, __dword_bcst[Scales + (block * sizeof(float))]);
        c.vpslld(zmm21, __dword_bcst[Sums + (block * sizeof(int))], ZeroShift);
        c.vpaddd(sums, sums, zmm21);
        c.vcvtdq2ps(sums, sums);
        c.vfmadd231ps(Results, sums, zmm20);
    }
}
