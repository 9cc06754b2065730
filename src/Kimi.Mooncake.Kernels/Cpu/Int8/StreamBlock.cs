using Iced.Intel;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>
/// Writes how a block of a type is turned and unpacked for <see cref="ByteStreamRoutine"/>. Vectors 0 to 15 are its
/// own; those of sums are free while there are none.
/// </summary>
internal abstract class StreamBlock(ByteStreamRoutine routine, Assembler c)
{
    /// <summary>Vectors that a turn of 32 bytes of each stored row needs beside its eight results.</summary>
    protected const int FreeSums = ByteStreamRoutine.FirstSum;

    private const byte EvenQuarters = 0x88;
    private const byte OddQuarters = 0xdd;
    private const int Rows = 4;

    /// <summary>Inputs of a block.</summary>
    internal abstract int Values { get; }

    /// <summary>Bytes of a stored block.</summary>
    internal abstract int StoredBytes { get; }

    /// <summary>Sums that 32 inputs have.</summary>
    internal virtual int SumsOf32 => 1;

    /// <summary>Whether scales are a tensor of their own.</summary>
    internal virtual bool HasTable => false;

    protected ByteStreamRoutine Routine => routine;

    protected Assembler C => c;

    /// <summary>The blocks of a type.</summary>
    internal static StreamBlock Of(TensorType type, ByteStreamRoutine routine, Assembler c) => type switch
    {
        TensorType.Q8_0 => new ByteBlock(routine, c),
        TensorType.Q4_0 or TensorType.Q5_0 or TensorType.Int4Group32 => new NibbleBlock(type, routine, c),
        TensorType.Q4_K => new NibbleKBlock(routine, c),
        TensorType.Q6_K => new SixBitKBlock(routine, c),
        _ => throw new ArgumentException($"no routine for {type}", nameof(type)),
    };

    /// <summary>Writes what is the same for all blocks.</summary>
    internal abstract void Constants();

    /// <summary>Writes a block's product.</summary>
    internal abstract void Write();

    /// <summary>
    /// Writes how scales of a tensor of their own, BF16 where stored blocks are otherwise, become what is kept of 8
    /// blocks.
    /// </summary>
    internal virtual void WriteTable() => throw new InvalidOperationException("blocks have their scales themselves");

    protected static AssemblerRegisterZMM V(int vector) => RoutineFrame.Vector(vector);

    protected void Constant(int vector, uint value)
    {
        c.mov(eax, value);
        c.vpbroadcastd(V(vector), eax);
    }

    /// <summary>32 bytes of each stored row: vector <c>i</c> has their i-th words, a row in each lane.</summary>
    /// <param name="offset">Where they begin in a row.</param>
    /// <param name="target">First of eight vectors.</param>
    /// <param name="free">First of eight vectors to work with.</param>
    protected void Turn32(int offset, int target, int free)
    {
        routine.EachQuad(offset, (quad, rows) =>
        {
            // Eight rows at a time, the upper four of them in upper halves.
            var first = quad < 2 ? free : target;
            for (var i = 0; i < Rows; i++)
            {
                if (quad % 2 == 0)
                {
                    c.vmovdqu32(RoutineFrame.Half(first + i), __ymmword_ptr[rows[i]]);
                }
                else
                {
                    c.vinserti64x4(V(first + i), V(first + i), __ymmword_ptr[rows[i]], 1);
                }
            }

            if (quad % 2 != 0)
            {
                Unpack(first, free + Rows, quad < 2 ? free : target + Rows);
            }
        });
        for (var i = 0; i < Rows; i++)
        {
            c.vshufi32x4(V(target + i), V(free + i), V(target + Rows + i), EvenQuarters);
            c.vshufi32x4(V(target + Rows + i), V(free + i), V(target + Rows + i), OddQuarters);
        }
    }

    /// <summary>The same for 16 bytes and four vectors.</summary>
    /// <inheritdoc cref="Turn32"/>
    protected void Turn16(int offset, int target, int free)
    {
        Quarters(offset, target);
        Unpack(target, free, target);
    }

    /// <summary>The first word or the first two of each stored row; 16 bytes are read.</summary>
    /// <inheritdoc cref="Turn32"/>
    protected void TurnWords(int offset, int words, int target, int free)
    {
        Quarters(offset, free);
        c.vpunpckldq(V(free), V(free), V(free + 1));
        c.vpunpckldq(V(free + 2), V(free + 2), V(free + 3));
        c.vpunpcklqdq(V(target), V(free), V(free + 2));
        if (words > 1)
        {
            c.vpunpckhqdq(V(target + 1), V(free), V(free + 2));
        }
    }

    /// <summary>Halves in the low parts of words as singles.</summary>
    protected void Singles(int target, int words)
    {
        c.vpmovdw(RoutineFrame.Half(target), V(words));
        c.vcvtph2ps(V(target), RoutineFrame.Half(target));
    }

    /// <summary>16 bytes of every fourth stored row side by side.</summary>
    private void Quarters(int offset, int target) => routine.EachQuad(offset, (quad, rows) =>
    {
        for (var i = 0; i < Rows; i++)
        {
            if (quad == 0)
            {
                c.vmovdqu32(RoutineFrame.Quarter(target + i), __xmmword_ptr[rows[i]]);
            }
            else
            {
                c.vinserti32x4(V(target + i), V(target + i), __xmmword_ptr[rows[i]], (byte)quad);
            }
        }
    });

    /// <summary>In each quarter, words of four vectors to four vectors of one word each.</summary>
    private void Unpack(int source, int between, int target)
    {
        c.vpunpckldq(V(between), V(source), V(source + 1));
        c.vpunpckhdq(V(between + 1), V(source), V(source + 1));
        c.vpunpckldq(V(between + 2), V(source + 2), V(source + 3));
        c.vpunpckhdq(V(between + 3), V(source + 2), V(source + 3));
        c.vpunpcklqdq(V(target), V(between), V(between + 2));
        c.vpunpckhqdq(V(target + 1), V(between), V(between + 2));
        c.vpunpcklqdq(V(target + 2), V(between + 1), V(between + 3));
        c.vpunpckhqdq(V(target + 3), V(between + 1), V(between + 3));
    }
}
