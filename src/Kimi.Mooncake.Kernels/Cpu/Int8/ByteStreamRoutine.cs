using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>
/// Writes the product of one row of bytes with 16 stored rows of Q8_0 or Q4_K at a time: two blocks of each are
/// multiplied where they stand, and the sums of all 16 are turned into two vectors. Nothing goes from memory to sums
/// but through registers, which for a single row takes half the instructions of making a tile first.
/// </summary>
/// <remarks>The scales of Q4_K, which are packed, come from a table; a call has one group of rows then.</remarks>
internal sealed class ByteStreamRoutine(TensorType type)
{
    /// <summary>Stored rows of a group.</summary>
    internal const int StoredRows = 16;

    /// <summary>Inputs that are multiplied at once.</summary>
    internal const int PairValues = 64;

    /// <summary>Bytes of the table for each block: 16 scales, 16 minima.</summary>
    internal const int TableBlockBytes = 2 * LineBytes;

    private const int LineBytes = 64;
    private const int ScaleBytes = 2;
    private const int HeaderBytes = 16;
    private const int NibbleBytes = 32;
    private const int NibbleBits = 4;
    private const int ZeroShift = 7;
    private const int RowsOfPointer = 4;
    private const byte EvenQuarters = 0x88;
    private const byte OddQuarters = 0xdd;

    private static readonly AssemblerRegister64 Run = rdi;
    private static readonly AssemblerRegister64[] Rows = [rsi, r8, r9, r10];
    private static readonly AssemblerRegister64 Stride = rdx;
    private static readonly AssemblerRegister64 Stride3 = rax;
    private static readonly AssemblerRegister64 X = r11;
    private static readonly AssemblerRegister64 Turns = rcx;
    private static readonly AssemblerRegister64 Scales = rbx;
    private static readonly AssemblerRegister64 Sums = rbp;
    private static readonly AssemblerRegister64 Ahead = r12;
    private static readonly AssemblerRegister64 Groups = r13;
    private static readonly AssemblerRegister64 Table = r13;
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
    private static readonly AssemblerRegisterZMM Shifts = zmm28;
    private static readonly AssemblerRegisterZMM Results = zmm31;

    private readonly bool _nibbles = type == TensorType.Q4_K;
    private readonly int _pairsOfTurn = TensorTypes.BlockValues(type) > PairValues ? 4 : 1;
    private readonly int _turnBytes = type == TensorType.Q4_K
        ? TensorTypes.BlockBytes(type)
        : 2 * TensorTypes.BlockBytes(type);

    private int PairLines => _turnBytes * StoredRows / _pairsOfTurn / LineBytes;

    /// <summary>Inputs of which a row has a multiple.</summary>
    internal static int TurnValues(TensorType type) => Math.Max(PairValues, TensorTypes.BlockValues(type));

    /// <summary>Whether there is a routine for a type.</summary>
    internal static bool Supports(TensorType type) => type is TensorType.Q8_0 or TensorType.Q4_K;

    /// <summary>The routine; its argument is a <see cref="ByteStream"/>.</summary>
    internal void Write(Assembler c)
    {
        // The shorter encoding knows no masks and half the registers.
        c.PreferVex = false;
        foreach (var register in Kept)
        {
            c.push(register);
        }

        Constants(c);
        Load(c, Stride, nameof(ByteStream.Stride));
        c.lea(Stride3, __[Stride + (Stride * 2)]);
        c.mov(GroupBytes, Stride);
        c.shl(GroupBytes, 4);
        Load(c, Rows[0], nameof(ByteStream.Rows));
        Load(c, Groups, _nibbles ? nameof(ByteStream.Table) : nameof(ByteStream.Groups));
        Load(c, Y, nameof(ByteStream.Y));

        var (nextGroup, nextTurn) = (c.CreateLabel(), c.CreateLabel());
        c.Label(ref nextGroup);
        BeginGroup(c);
        c.Label(ref nextTurn);
        for (var pair = 0; pair < _pairsOfTurn; pair++)
        {
            Pair(c, pair);
        }

        Advance(c);
        c.dec(Turns);
        c.jne(nextTurn);

        c.vmovups(__zmmword_ptr[Y], Results);
        if (!_nibbles)
        {
            c.add(Y, LineBytes);
            // The pointer has gone through its row, which ends where the next one begins.
            c.sub(Rows[0], Stride);
            c.add(Rows[0], GroupBytes);
            c.dec(Groups);
            c.jne(nextGroup);
        }

        foreach (var register in Kept.Reverse())
        {
            c.pop(register);
        }

        c.vzeroupper();
        c.ret();
    }

    private void BeginGroup(Assembler c)
    {
        for (var i = 1; i < Rows.Length; i++)
        {
            c.lea(Rows[i], __[Rows[i - 1] + (Stride * RowsOfPointer)]);
        }

        var within = c.CreateLabel();
        if (!_nibbles)
        {
            c.lea(Ahead, __[Rows[0] + GroupBytes]);
            c.cmp(Groups, 1);
            c.jne(within);
        }

        Load(c, Ahead, nameof(ByteStream.Afterwards));
        c.Label(ref within);
        Load(c, X, nameof(ByteStream.X));
        Load(c, Scales, nameof(ByteStream.Scales));
        Load(c, Sums, _nibbles ? nameof(ByteStream.ScaledSums) : nameof(ByteStream.Sums));
        Load(c, Turns, nameof(ByteStream.Turns));
        c.vpxord(Results, Results, Results);
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

    private void Constants(Assembler c)
    {
        c.mov(eax, _nibbles ? 0x0f0f0f0f : 0x80808080);
        c.vpbroadcastd(Signs, eax);
        if (_nibbles)
        {
            // The upper half of a vector takes the high nibbles.
            c.mov(eax, NibbleBits);
            c.vpbroadcastd(ymm0, eax);
            c.vpxord(Shifts, Shifts, Shifts);
            c.vinserti64x4(Shifts, Shifts, ymm0, 1);
            return;
        }

        Mask(c, k1, 1);
        Mask(c, k2, 2);
        Mask(c, k3, 3);
    }

    private void Pair(Assembler c, int pair)
    {
        c.vmovdqu32(Inputs, __zmmword_ptr[X + (pair * PairValues)]);
        for (var quad = 0; quad < Quads.Length; quad++)
        {
            FourRows(c, quad, pair);
            for (var line = quad; line < PairLines; line += Quads.Length)
            {
                c.prefetcht0(__byte_ptr[Ahead + (((pair * PairLines) + line) * LineBytes)]);
            }
        }

        var (first, second) = (zmm4, zmm5);
        SumQuarters(c, zmm0, Quads[0], Quads[1]);
        SumQuarters(c, zmm2, Quads[2], Quads[3]);
        c.vshufi32x4(first, zmm0, zmm2, EvenQuarters);
        c.vshufi32x4(second, zmm0, zmm2, OddQuarters);
        AddBlock(c, first, 2 * pair);
        AddBlock(c, second, (2 * pair) + 1);
    }

    private void Advance(Assembler c)
    {
        foreach (var row in Rows)
        {
            c.add(row, _turnBytes);
        }

        c.add(X, _pairsOfTurn * PairValues);
        c.add(Scales, _pairsOfTurn * 2 * sizeof(float));
        c.add(Sums, _pairsOfTurn * 2 * sizeof(int));
        c.add(Ahead, _pairsOfTurn * PairLines * LineBytes);
        if (_nibbles)
        {
            c.add(Table, _pairsOfTurn * 2 * TableBlockBytes);
        }
    }

    /// <summary>Two blocks of four rows: in each quarter of the result, four words' sum for each row.</summary>
    private void FourRows(Assembler c, int quad, int pair)
    {
        for (var i = 0; i < RowsOfPointer; i++)
        {
            var row = (quad * RowsOfPointer) + i;
            c.vpxord(Products[i], Products[i], Products[i]);
            if (_nibbles)
            {
                c.vbroadcasti64x4(Weights[i], __ymmword_ptr[Row(row, HeaderBytes + (pair * NibbleBytes))]);
                c.vpsrlvd(Weights[i], Weights[i], Shifts);
                c.vpandd(Weights[i], Weights[i], Signs);
            }
            else
            {
                var second = (_turnBytes / 2) + ScaleBytes;
                c.vmovdqu(LowerWeights[i], __ymmword_ptr[Row(row, ScaleBytes)]);
                c.vinserti64x4(Weights[i], Weights[i], __ymmword_ptr[Row(row, second)], 1);
                c.vpxord(Weights[i], Weights[i], Signs);
            }

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

    private void AddBlock(Assembler c, AssemblerRegisterZMM sums, int block)
    {
        var (scale, sum) = (Scales + (block * sizeof(float)), Sums + (block * sizeof(int)));
        if (_nibbles)
        {
            c.vmovups(zmm20, __zmmword_ptr[Table + (block * TableBlockBytes)]);
            c.vmovups(zmm21, __zmmword_ptr[Table + (block * TableBlockBytes) + LineBytes]);
            c.vmulps(zmm20, zmm20, __dword_bcst[scale]);
            c.vcvtdq2ps(sums, sums);
            c.vfmadd231ps(Results, sums, zmm20);
            c.vfmadd231ps(Results, zmm21, __dword_bcst[sum]);
            return;
        }

        StoredScales(c, block);
        c.vmulps(zmm20, zmm20, __dword_bcst[scale]);
        c.vpslld(zmm21, __dword_bcst[sum], ZeroShift);
        c.vpaddd(sums, sums, zmm21);
        c.vcvtdq2ps(sums, sums);
        c.vfmadd231ps(Results, sums, zmm20);
    }

    /// <summary>The halves that begin a block of each row, as singles.</summary>
    private void StoredScales(Assembler c, int block)
    {
        var at = block * _turnBytes / 2;
        for (var quad = 0; quad < Quads.Length; quad++)
        {
            var halves = Halves[quad];
            var row = quad * RowsOfPointer;
            c.vmovd(halves, __dword_ptr[Row(row, at)]);
            c.vpbroadcastd(halves.k1, __dword_ptr[Row(row + 1, at)]);
            c.vpbroadcastd(halves.k2, __dword_ptr[Row(row + 2, at)]);
            c.vpbroadcastd(halves.k3, __dword_ptr[Row(row + 3, at)]);
        }

        c.vinserti32x4(ymm20, ymm20, xmm21, 1);
        c.vinserti32x4(ymm22, ymm22, xmm23, 1);
        c.vinserti64x4(zmm20, zmm20, ymm22, 1);
        c.vpmovdw(ymm20, zmm20);
        c.vcvtph2ps(zmm20, ymm20);
    }
}
