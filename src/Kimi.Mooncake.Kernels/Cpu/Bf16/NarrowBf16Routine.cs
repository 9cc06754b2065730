using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using static Iced.Intel.AssemblerRegisters;
using static Kimi.Mooncake.Kernels.Cpu.Bf16.NarrowBf16Format;

namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>
/// Writes the routines that read <see cref="NarrowBf16Format"/>: the product of up to 8 rows with a panel, which never
/// leaves the registers, and panels of pairs for the product of many.
/// </summary>
internal static class NarrowBf16Routine
{
    internal const int RowsMax = 8;

    private const int ValueBytes = sizeof(ushort);
    private const int PairBytes = 2 * ValueBytes;
    private const int QuarterPairs = QuarterInputs / 2;
    private const int FirstCodes = 6;
    private const int LastCodes = FirstCodes + CodeVectors;
    private const int FirstSum = 16;
    private const byte OwnMask = 0x07;

    // Of three operands the last one chooses, bit by bit, between the first two.
    private const byte FirstWhereSet = 0xe4;
    private const byte SecondWhereSet = 0xd8;

    private static AssemblerRegisterZMM Table(int group) => RoutineFrame.Vector(group);

    private static AssemblerRegisterZMM CodeMask(int group) => RoutineFrame.Vector(Groups + group);

    private static AssemblerRegisterZMM LowTwo => zmm4;

    private static AssemblerRegisterZMM LowFour => zmm5;

    private static AssemblerRegisterZMM Exponents(int group) => RoutineFrame.Vector(10 + group);

    private static AssemblerRegisterZMM Bytes(int group) => RoutineFrame.Vector(12 + group);

    private static AssemblerRegisterZMM FirstPair(int group) => RoutineFrame.Vector(14 + group);

    private static AssemblerRegisterZMM SecondPair(int group) => Bytes(group);

    private static AssemblerRegisterZMM Sum(int row, int group) =>
        RoutineFrame.Vector(FirstSum + (Groups * row) + group);

    private static AssemblerRegister64 Blocks => rsi;

    private static AssemblerRegister64 Written => r8;

    private static AssemblerRegister64 Left => r9;

    private static AssemblerRegister64 Count => r14;

    private static AssemblerRegister64 Ahead => r15;

    private static AssemblerRegister64 LastCount => rbp;

    private static AssemblerRegister64 Target => r9;

    private static AssemblerRegister64[] Strides => [r10, r11, r12, r13];

    /// <summary>The product of few rows; its argument is a <see cref="NarrowBf16Product"/>.</summary>
    internal static void WriteProduct(Assembler c)
    {
        RoutineFrame.Enter(c);
        RoutineFrame.Load<NarrowBf16Product>(c, Written, nameof(NarrowBf16Product.Panel));
        WriteTables(c);
        RoutineFrame.Load<NarrowBf16Product>(c, Blocks, nameof(NarrowBf16Product.Blocks));
        RoutineFrame.Load<NarrowBf16Product>(c, Left, nameof(NarrowBf16Product.Left));
        RoutineFrame.Load<NarrowBf16Product>(c, Strides[0], nameof(NarrowBf16Product.LeftStrideBytes));
        RoutineFrame.OddMultiples(c, Strides);
        RoutineFrame.Load<NarrowBf16Product>(c, Count, nameof(NarrowBf16Product.Count));
        RoutineFrame.Load<NarrowBf16Product>(c, LastCount, nameof(NarrowBf16Product.LastCount));
        RoutineFrame.Load<NarrowBf16Product>(c, Ahead, nameof(NarrowBf16Product.Ahead));
        var end = c.CreateLabel();
        for (var rows = 1; rows <= RowsMax; rows++)
        {
            var next = c.CreateLabel();
            c.cmp(__qword_ptr[RoutineFrame.At<NarrowBf16Product>(nameof(NarrowBf16Product.Rows))], rows);
            c.jne(next);
            WriteRows(c, rows);
            c.jmp(end);
            c.Label(ref next);
            c.nop();
        }

        c.Label(ref end);
        RoutineFrame.Leave(c);
    }

    /// <summary>Pairs of k of some blocks; its argument is a <see cref="NarrowBf16Run"/>.</summary>
    internal static void WriteRun(Assembler c)
    {
        RoutineFrame.Enter(c);
        RoutineFrame.Load<NarrowBf16Run>(c, Written, nameof(NarrowBf16Run.Panel));
        WriteTables(c);
        RoutineFrame.Load<NarrowBf16Run>(c, Written, nameof(NarrowBf16Run.Written));
        RoutineFrame.Load<NarrowBf16Run>(c, Blocks, nameof(NarrowBf16Run.Blocks));
        RoutineFrame.Load<NarrowBf16Run>(c, Target, nameof(NarrowBf16Run.Target));
        RoutineFrame.Load<NarrowBf16Run>(c, Count, nameof(NarrowBf16Run.Count));
        RoutineFrame.Load<NarrowBf16Run>(c, Ahead, nameof(NarrowBf16Run.Ahead));
        var loop = c.CreateLabel();
        c.Label(ref loop);
        WriteCodes(c);
        for (var quarter = 0; quarter < Quarters; quarter++)
        {
            WriteQuarter(c, quarter);
            for (var group = 0; group < Groups; group++)
            {
                var at = (quarter * 2 * QuarterBytes) + (group * VectorBytes);
                c.vmovdqa64(__zmmword_ptr[Target + at], FirstPair(group));
                c.vmovdqa64(__zmmword_ptr[Target + at + QuarterBytes], SecondPair(group));
            }
        }

        c.add(Target, BlockInputs * Panel * ValueBytes);
        WriteNext(c);
        c.jne(loop);
        c.mov(__qword_ptr[RoutineFrame.At<NarrowBf16Run>(nameof(NarrowBf16Run.Written))], Written);
        RoutineFrame.Leave(c);
    }

    /// <summary>Exponents by code as <c>vpermb</c> wants them, which heeds six bits of a byte; masks.</summary>
    private static void WriteTables(Assembler c)
    {
        // Byte i is the exponent of code i modulo 8, and of i / 8: bits above, or below, are another code's.
        c.vpbroadcastq(Table(0), __qword_ptr[Written]);
        c.vpmovzxbq(Table(1), __qword_ptr[Written + Codes]);
        c.mov(rax, 0x0101010101010101);
        c.vpbroadcastq(zmm6, rax);
        c.vpmullq(Table(1), Table(1), zmm6);
        WriteMask(c, CodeMask(0), OwnMask);
        WriteMask(c, CodeMask(1), OwnMask << CodeBits);
        WriteMask(c, LowTwo, 0x03);
        WriteMask(c, LowFour, 0x0f);
        c.add(Written, HeaderBytes);
    }

    private static void WriteMask(Assembler c, AssemblerRegisterZMM register, int value)
    {
        c.mov(eax, value);
        c.vpbroadcastb(register, eax);
    }

    private static void WriteRows(Assembler c, int rows)
    {
        for (var row = 0; row < rows; row++)
        {
            c.vpxord(Sum(row, 0), Sum(row, 0), Sum(row, 0));
            c.vpxord(Sum(row, 1), Sum(row, 1), Sum(row, 1));
        }

        var (loop, last) = (c.CreateLabel(), c.CreateLabel());
        c.test(Count, Count);
        c.je(last);
        c.Label(ref loop);
        WriteCodes(c);
        for (var quarter = 0; quarter < Quarters; quarter++)
        {
            WriteQuarter(c, quarter);
            WriteProducts(c, quarter, rows);
        }

        c.add(Left, BlockInputs * ValueBytes);
        WriteNext(c);
        c.jne(loop);
        c.Label(ref last);
        c.mov(Count, LastCount);
        c.xor(LastCount, LastCount);
        RoutineFrame.Load<NarrowBf16Product>(c, Ahead, nameof(NarrowBf16Product.Afterwards));
        c.test(Count, Count);
        c.jne(loop);

        RoutineFrame.Load<NarrowBf16Product>(c, rax, nameof(NarrowBf16Product.Results));
        for (var row = 0; row < rows; row++)
        {
            c.vmovups(__zmmword_ptr[rax], Sum(row, 0));
            c.vmovups(__zmmword_ptr[rax + VectorBytes], Sum(row, 1));
            c.add(rax, __qword_ptr[RoutineFrame.At<NarrowBf16Product>(nameof(NarrowBf16Product.ResultStrideBytes))]);
        }
    }

    private static void WriteProducts(Assembler c, int quarter, int rows)
    {
        for (var pair = 0; pair < QuarterPairs; pair++)
        {
            for (var row = 0; row < rows; row++)
            {
                var left = Exponents(row % 2);
                c.vpbroadcastd(left, __dword_ptr[Row(row) + (((quarter * QuarterPairs) + pair) * PairBytes)]);
                for (var group = 0; group < Groups; group++)
                {
                    c.vdpbf16ps(Sum(row, group), pair == 0 ? FirstPair(group) : SecondPair(group), left);
                }
            }
        }
    }

    private static AssemblerMemoryOperand Row(int row) => row switch
    {
        0 => __[Left],
        1 => __[Left + Strides[0]],
        2 => __[Left + (Strides[0] * 2)],
        3 => __[Left + Strides[1]],
        4 => __[Left + (Strides[0] * 4)],
        5 => __[Left + Strides[2]],
        6 => __[Left + (Strides[1] * 2)],
        _ => __[Left + Strides[3]],
    };

    /// <summary>The codes of a block by quarter; those of the last are gathered from the others' free bits.</summary>
    private static void WriteCodes(Assembler c)
    {
        for (var i = 0; i < CodeVectors; i++)
        {
            c.vmovdqa64(RoutineFrame.Vector(FirstCodes + i), __zmmword_ptr[Blocks + CodesAt + (i * VectorBytes)]);
        }

        var (first, second, third) = (Exponents(0), Exponents(1), RoutineFrame.Vector(LastCodes));
        c.vpsrlw(first, RoutineFrame.Vector(FirstCodes), OwnBits);
        c.vpsrlw(second, RoutineFrame.Vector(FirstCodes + 1), OwnBits - 2);
        c.vpsrlw(third, RoutineFrame.Vector(FirstCodes + 2), OwnBits - 4);

        c.vpternlogd(first, second, LowTwo, FirstWhereSet);
        c.vpternlogd(third, first, LowFour, SecondWhereSet);
    }

    /// <summary>Four inputs of 32 outputs: two pairs for each group.</summary>
    private static void WriteQuarter(Assembler c, int quarter)
    {
        var codes = RoutineFrame.Vector(FirstCodes + quarter);
        AssemblerRegisterK[] isWritten = [k1, k2];
        AssemblerRegister64[] counts = [rax, rcx];
        for (var group = 0; group < Groups; group++)
        {
            c.vptestnmb(isWritten[group], codes, CodeMask(group));
            c.vpermb(Exponents(group), codes, Table(group));
            c.kmovq(counts[group], isWritten[group]);
            c.popcnt(counts[group], counts[group]);
        }

        for (var group = 0; group < Groups; group++)
        {
            c.vmovdqu8(FirstPair(group), __zmmword_ptr[Written]);
            c.add(Written, counts[group]);
            c.vmovdqa64(Bytes(group), __zmmword_ptr[Blocks + (quarter * QuarterBytes) + (group * VectorBytes)]);
            c.vpexpandb(group == 0 ? Exponents(group).k1 : Exponents(group).k2, FirstPair(group));
            c.prefetcht0(__[Ahead + (((quarter * Groups) + group) * VectorBytes)]);
        }

        if (quarter < CodeVectors)
        {
            c.prefetcht0(__[Ahead + CodesAt + (quarter * VectorBytes)]);
        }

        for (var group = 0; group < Groups; group++)
        {
            c.vpunpcklbw(FirstPair(group), Bytes(group), Exponents(group));
            c.vpunpckhbw(SecondPair(group), Bytes(group), Exponents(group));
            c.vpshrdw(FirstPair(group), FirstPair(group), FirstPair(group), 1);
            c.vpshrdw(SecondPair(group), SecondPair(group), SecondPair(group), 1);
        }
    }

    private static void WriteNext(Assembler c)
    {
        c.add(Blocks, BlockBytes);
        c.add(Ahead, BlockBytes);
        c.dec(Count);
    }
}
