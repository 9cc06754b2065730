using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>What a call of the product of few rows takes; the routine knows these offsets.</summary>
internal unsafe struct Bf16Stream
{
    internal ushort* Stored;
    internal long StoredStrideBytes;
    internal ushort* Left;
    internal long LeftStrideBytes;
    internal long Rows;
    internal float* Result;
    internal long ResultStrideBytes;

    /// <summary>Lines (of 32 values) of a stored row.</summary>
    internal long Lines;

    /// <summary>What is asked for from memory meanwhile, as many bytes as are read; null for nothing.</summary>
    internal ushort* Ahead;
}

/// <summary>
/// Writes the bfloat16 product of up to 8 rows with stored rows: a line of 32 values of each of 16 is turned in
/// registers and multiplied there, so that weights go from memory to sums without a store between.
/// </summary>
/// <remarks>
/// Memory is fastest where it is read in the order in which it lies. The next 16 stored rows, which lie side by side,
/// are therefore asked for in that order while these are worked on, and lines of these some way on once more, since
/// those are in the second-level cache at best.
/// </remarks>
internal static class Bf16StreamRoutine
{
    internal const int RowsMax = 8;
    internal const int StoredRows = 16;
    internal const int LineValues = 32;

    private const int HalfRows = 8;
    private const int PrefetchLines = 4;
    private const int LineBytes = 64;
    private const int PairBytes = 4;
    private const int PointerBytes = 8;
    private const int Group = 4;
    private const int RowsAt = 4 * PointerBytes;
    private const int ResultAt = 5 * PointerBytes;
    private const int ResultStrideAt = 6 * PointerBytes;
    private const int LinesAt = 7 * PointerBytes;
    private const int AheadAt = 8 * PointerBytes;

    // zmm0 to zmm15 hold what is turned, zmm16 to zmm19 what is between, zmm20 onwards sums.
    private static readonly AssemblerRegisterZMM[] Turned =
    [
        zmm0, zmm1, zmm2, zmm3, zmm4, zmm5, zmm6, zmm7, zmm8, zmm9, zmm10, zmm11, zmm12, zmm13, zmm14, zmm15,
    ];

    private static readonly AssemblerRegisterZMM[] Between = [zmm16, zmm17, zmm18, zmm19];

    private static readonly AssemblerRegisterZMM[] Sums = [zmm20, zmm21, zmm22, zmm23, zmm24, zmm25, zmm26, zmm27];

    private static readonly AssemblerRegister64[] Saved = [rbx, rbp, r12, r13, r14, r15];

    // A stride, three, five and seven times: with these as indices, all of eight rows are reached from the first.
    private static readonly AssemblerRegister64[] StoredStrides = [rdx, rax, rbx, rcx];
    private static readonly AssemblerRegister64[] LeftStrides = [r10, r11, r12, r13];

    private static AssemblerRegister64 Stored => rsi;

    private static AssemblerRegister64 StoredUpper => r8;

    private static AssemblerRegister64 Ahead => r15;

    private static AssemblerRegister64 Left => r9;

    private static AssemblerRegister64 Lines => r14;

    /// <summary>The routine; its argument is a <see cref="Bf16Stream"/>.</summary>
    internal static void Write(Assembler c)
    {
        foreach (var register in Saved)
        {
            c.push(register);
        }

        c.mov(Stored, __qword_ptr[rdi]);
        WriteStrides(c, StoredStrides, PointerBytes);
        c.lea(StoredUpper, __[Stored + (StoredStrides[0] * HalfRows)]);
        c.mov(Left, __qword_ptr[rdi + (2 * PointerBytes)]);
        WriteStrides(c, LeftStrides, 3 * PointerBytes);
        c.mov(Lines, __qword_ptr[rdi + LinesAt]);
        c.mov(Ahead, __qword_ptr[rdi + AheadAt]);
        var end = c.CreateLabel();
        for (var rows = 1; rows <= RowsMax; rows++)
        {
            var (next, without) = (c.CreateLabel(), c.CreateLabel());
            c.cmp(__qword_ptr[rdi + RowsAt], rows);
            c.jne(next);
            c.test(Ahead, Ahead);
            c.je(without);
            WriteRows(c, rows, hasAhead: true);
            c.jmp(end);
            c.Label(ref without);
            WriteRows(c, rows, hasAhead: false);
            c.jmp(end);
            c.Label(ref next);
            c.nop();
        }

        c.Label(ref end);
        c.vzeroupper();
        foreach (var register in Saved.Reverse())
        {
            c.pop(register);
        }

        c.ret();
    }

    private static void WriteStrides(Assembler c, AssemblerRegister64[] strides, int at)
    {
        c.mov(strides[0], __qword_ptr[rdi + at]);
        c.lea(strides[1], __[strides[0] + (strides[0] * 2)]);
        c.lea(strides[2], __[strides[0] + (strides[0] * 4)]);
        c.lea(strides[3], __[strides[1] + (strides[0] * 4)]);
    }

    private static AssemblerMemoryOperand Row(AssemblerRegister64 first, AssemblerRegister64[] strides, int row) =>
        row switch
        {
            0 => __[first],
            1 => __[first + strides[0]],
            2 => __[first + (strides[0] * 2)],
            3 => __[first + strides[1]],
            4 => __[first + (strides[0] * 4)],
            5 => __[first + strides[2]],
            6 => __[first + (strides[1] * 2)],
            _ => __[first + strides[3]],
        };

    private static void WriteRows(Assembler c, int rows, bool hasAhead)
    {
        foreach (var sum in Sums.AsSpan(0, rows))
        {
            c.vpxord(sum, sum, sum);
        }

        var loop = c.CreateLabel();
        c.Label(ref loop);
        WriteLine(c, rows, hasAhead);
        foreach (var pointer in new[] { Stored, StoredUpper, Left })
        {
            c.add(pointer, LineBytes);
        }

        if (hasAhead)
        {
            c.add(Ahead, StoredRows * LineBytes);
        }

        c.dec(Lines);
        c.jne(loop);
        c.mov(Lines, __qword_ptr[rdi + ResultAt]);
        foreach (var sum in Sums.AsSpan(0, rows))
        {
            c.vmovups(__zmmword_ptr[Lines], sum);
            c.add(Lines, __qword_ptr[rdi + ResultStrideAt]);
        }
    }

    private static void WriteLine(Assembler c, int rows, bool hasAhead)
    {
        for (var row = 0; row < StoredRows; row += Group)
        {
            WriteGroup(c, row, hasAhead);
        }

        // Quarters of four registers: pairs j, 4 + j, 8 + j and 12 + j of 16 rows.
        for (var j = 0; j < Group; j++)
        {
            c.vshufi32x4(Between[0], Turned[j], Turned[Group + j], 0x88);
            c.vshufi32x4(Between[1], Turned[j], Turned[Group + j], 0xdd);
            c.vshufi32x4(Between[2], Turned[(2 * Group) + j], Turned[(3 * Group) + j], 0x88);
            c.vshufi32x4(Between[3], Turned[(2 * Group) + j], Turned[(3 * Group) + j], 0xdd);
            c.vshufi32x4(Turned[j], Between[0], Between[2], 0x88);
            c.vshufi32x4(Turned[Group + j], Between[1], Between[3], 0x88);
            c.vshufi32x4(Turned[(2 * Group) + j], Between[0], Between[2], 0xdd);
            c.vshufi32x4(Turned[(3 * Group) + j], Between[1], Between[3], 0xdd);
        }

        for (var pair = 0; pair < Turned.Length; pair++)
        {
            for (var row = 0; row < rows; row++)
            {
                c.vdpbf16ps(Sums[row], Turned[pair], Broadcast(Row(Left, LeftStrides, row) + (pair * PairBytes)));
            }
        }
    }

    private static AssemblerMemoryOperand Broadcast(AssemblerMemoryOperand at) => __dword_bcst[at];

    /// <summary>Four rows: register j becomes pairs j, 4 + j, 8 + j and 12 + j of each.</summary>
    private static void WriteGroup(Assembler c, int row, bool hasAhead)
    {
        for (var r = row; r < row + Group; r++)
        {
            var stored = Row(r < HalfRows ? Stored : StoredUpper, StoredStrides, r % HalfRows);
            c.vmovdqu32(Turned[r], stored);
            c.prefetcht0(stored + (PrefetchLines * LineBytes));
            if (hasAhead)
            {
                c.prefetcht0(__[Ahead + (r * LineBytes)]);
            }
        }

        c.vpunpckldq(Between[0], Turned[row], Turned[row + 1]);
        c.vpunpckhdq(Between[1], Turned[row], Turned[row + 1]);
        c.vpunpckldq(Between[2], Turned[row + 2], Turned[row + 3]);
        c.vpunpckhdq(Between[3], Turned[row + 2], Turned[row + 3]);
        c.vpunpcklqdq(Turned[row], Between[0], Between[2]);
        c.vpunpckhqdq(Turned[row + 1], Between[0], Between[2]);
        c.vpunpcklqdq(Turned[row + 2], Between[1], Between[3]);
        c.vpunpckhqdq(Turned[row + 3], Between[1], Between[3]);
    }
}
