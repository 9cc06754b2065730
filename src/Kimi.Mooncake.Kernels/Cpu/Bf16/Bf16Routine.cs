using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>What a call of the bfloat16 product takes; the routine knows these offsets.</summary>
internal unsafe struct Bf16Product
{
    internal ushort* Left;
    internal long LeftStrideBytes;
    internal long Rows;
    internal uint* Panel;
    internal long Pairs;
    internal float* Result;
    internal long ResultStrideBytes;
    internal long Accumulate;
}

/// <summary>
/// Writes the bfloat16 product with <c>vdpbf16ps</c>: blocks of 12 rows by 32 columns stay in registers while k passes;
/// the rows that are left take a block of just their number.
/// </summary>
internal static class Bf16Routine
{
    private const int BlockRows = 12;
    private const int RowsOfBase = 3;
    private const int Unrolled = 4;
    private const int PairBytes = 4;
    private const int VectorBytes = 64;
    private const int PanelPairBytes = 2 * VectorBytes;
    private const int PointerBytes = 8;

    // zmm0 and zmm1 hold the columns of a pair, zmm2 to zmm7 pairs of rows in turn, the others sums.
    private const int FirstLeft = 2;
    private const int LeftRegisters = 6;
    private const int FirstSum = 8;

    private static readonly AssemblerRegisterZMM[] Vectors =
    [
        zmm0, zmm1, zmm2, zmm3, zmm4, zmm5, zmm6, zmm7, zmm8, zmm9, zmm10, zmm11, zmm12, zmm13, zmm14, zmm15,
        zmm16, zmm17, zmm18, zmm19, zmm20, zmm21, zmm22, zmm23, zmm24, zmm25, zmm26, zmm27, zmm28, zmm29, zmm30, zmm31,
    ];

    private static readonly AssemblerRegister64[] Saved = [rbx, rbp, r12, r13, r14, r15];

    // The rows of a block are reached from these, three each.
    private static readonly AssemblerRegister64[] Bases = [rax, rbx, rbp, r12];

    private static AssemblerRegister64 Left => rsi;

    private static AssemblerRegister64 LeftStride => rdx;

    private static AssemblerRegister64 Rows => r11;

    private static AssemblerRegister64 Panel => rcx;

    private static AssemblerRegister64 Pairs => r10;

    private static AssemblerRegister64 Result => r8;

    private static AssemblerRegister64 ResultStride => r9;

    private static AssemblerRegister64 Accumulate => rdi;

    private static AssemblerRegister64 PanelAt => r13;

    private static AssemblerRegister64 PairsLeft => r14;

    private static AssemblerRegister64 ResultAt => r15;

    /// <summary>The routine; its argument is a <see cref="Bf16Product"/>.</summary>
    internal static void Write(Assembler c)
    {
        foreach (var register in Saved)
        {
            c.push(register);
        }

        AssemblerRegister64[] arguments =
            [Left, LeftStride, Rows, Panel, Pairs, Result, ResultStride, Accumulate];
        for (var i = 0; i < arguments.Length; i++)
        {
            c.mov(arguments[i], __qword_ptr[rdi + (i * PointerBytes)]);
        }

        var (blocks, rest, end) = (c.CreateLabel(), c.CreateLabel(), c.CreateLabel());
        c.Label(ref blocks);
        c.cmp(Rows, BlockRows);
        c.jb(rest);
        WriteBlock(c, BlockRows);
        c.imul(rax, LeftStride, BlockRows);
        c.add(Left, rax);
        c.imul(rax, ResultStride, BlockRows);
        c.add(Result, rax);
        c.sub(Rows, BlockRows);
        c.jmp(blocks);

        c.Label(ref rest);
        for (var rows = 1; rows < BlockRows; rows++)
        {
            var next = c.CreateLabel();
            c.cmp(Rows, rows);
            c.jne(next);
            WriteBlock(c, rows);
            c.jmp(end);
            c.Label(ref next);
        }

        // An instruction takes one label at most, and the last block's next one is here.
        c.nop();
        c.Label(ref end);
        c.vzeroupper();
        foreach (var register in Saved.Reverse())
        {
            c.pop(register);
        }

        c.ret();
    }

    private static AssemblerRegisterZMM Sum(int row, int half) => Vectors[FirstSum + (2 * row) + half];

    private static void WriteBlock(Assembler c, int rows)
    {
        WriteStart(c, rows);
        c.mov(PanelAt, Panel);
        c.mov(PairsLeft, Pairs);
        c.mov(Bases[0], Left);
        for (var i = 1; i * RowsOfBase < rows; i++)
        {
            c.lea(Bases[i], __[LeftStride + (LeftStride * 2)]);
            c.add(Bases[i], Bases[i - 1]);
        }

        var (loop, rest, restLoop, store) = (c.CreateLabel(), c.CreateLabel(), c.CreateLabel(), c.CreateLabel());
        c.sub(PairsLeft, Unrolled);
        c.jl(rest);
        c.Label(ref loop);
        WritePairs(c, rows, Unrolled);
        c.sub(PairsLeft, Unrolled);
        c.jge(loop);

        c.Label(ref rest);
        c.add(PairsLeft, Unrolled);
        c.je(store);
        c.Label(ref restLoop);
        WritePairs(c, rows, 1);
        c.dec(PairsLeft);
        c.jne(restLoop);

        c.Label(ref store);
        c.mov(ResultAt, Result);
        for (var row = 0; row < rows; row++)
        {
            c.vmovups(__zmmword_ptr[ResultAt], Sum(row, 0));
            c.vmovups(__zmmword_ptr[ResultAt + VectorBytes], Sum(row, 1));
            c.add(ResultAt, ResultStride);
        }
    }

    /// <summary>Sums begin with the result so far, or with zeros.</summary>
    private static void WriteStart(Assembler c, int rows)
    {
        var (zero, begun) = (c.CreateLabel(), c.CreateLabel());
        c.test(Accumulate, Accumulate);
        c.je(zero);
        c.mov(ResultAt, Result);
        for (var row = 0; row < rows; row++)
        {
            c.vmovups(Sum(row, 0), __zmmword_ptr[ResultAt]);
            c.vmovups(Sum(row, 1), __zmmword_ptr[ResultAt + VectorBytes]);
            c.add(ResultAt, ResultStride);
        }

        c.jmp(begun);
        c.Label(ref zero);
        for (var row = 0; row < rows; row++)
        {
            c.vpxord(Sum(row, 0), Sum(row, 0), Sum(row, 0));
            c.vpxord(Sum(row, 1), Sum(row, 1), Sum(row, 1));
        }

        c.Label(ref begun);
    }

    private static void WritePairs(Assembler c, int rows, int pairs)
    {
        for (var pair = 0; pair < pairs; pair++)
        {
            c.vmovups(zmm0, __zmmword_ptr[PanelAt + (pair * PanelPairBytes)]);
            c.vmovups(zmm1, __zmmword_ptr[PanelAt + (pair * PanelPairBytes) + VectorBytes]);
            for (var row = 0; row < rows; row++)
            {
                var left = Vectors[FirstLeft + (row % LeftRegisters)];
                var first = Bases[row / RowsOfBase];
                c.vpbroadcastd(left, (row % RowsOfBase) switch
                {
                    0 => __dword_ptr[first + (pair * PairBytes)],
                    1 => __dword_ptr[first + LeftStride + (pair * PairBytes)],
                    _ => __dword_ptr[first + (LeftStride * 2) + (pair * PairBytes)],
                });
                c.vdpbf16ps(Sum(row, 0), zmm0, left);
                c.vdpbf16ps(Sum(row, 1), zmm1, left);
            }
        }

        c.add(PanelAt, pairs * PanelPairBytes);
        for (var i = 0; i * RowsOfBase < rows; i++)
        {
            c.add(Bases[i], pairs * PairBytes);
        }
    }
}
