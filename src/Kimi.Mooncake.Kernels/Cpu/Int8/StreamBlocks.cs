using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>Q8_0: a scale, then 32 bytes.</summary>
internal sealed class ByteBlock(ByteStreamRoutine routine, Assembler c) : StreamBlock(routine, c)
{
    private const int Words = 8;
    private const int Scale = 8;
    private const int Factor = 9;
    private const int Signs = 10;
    private const int ScaleBytes = 2;
    private const int ZeroShift = 7;

    internal override int Values => WeightTile.BlockValues;

    internal override int StoredBytes => TensorTypes.BlockBytes(TensorType.Q8_0);

    internal override void Constants() => Constant(Signs, 0x80808080);

    internal override void Write()
    {
        TurnWords(0, 1, Scale, FreeSums);
        Singles(Scale, Scale);
        Turn32(ScaleBytes, 0, FreeSums);
        Routine.BeginSums(ZeroShift, 0);
        for (var word = 0; word < Words; word++)
        {
            C.vpxord(V(word), V(word), V(Signs));
            Routine.Multiply(V(word), word);
        }

        Routine.AddSums(V(Scale), V(Factor), 0);
    }
}

/// <summary>
/// Q4_0 and Q5_0: a scale, the fifth bits of all values, 16 bytes of which low nibbles are the first values. Packed
/// integers: 16 bytes of nibbles ascending.
/// </summary>
internal sealed class NibbleBlock(TensorType type, ByteStreamRoutine routine, Assembler c) : StreamBlock(routine, c)
{
    private const int Words = 4;
    private const int Weights = 4;
    private const int Scale = 8;
    private const int Fifths = 9;
    private const int Factor = 10;
    private const int Nibbles = 11;
    private const int Lower = 12;
    private const int Upper = 13;
    private const int FifthBit = 14;
    private const int NibbleBits = 4;
    private const int HalfBits = 16;
    private const byte FirstOrBothOthers = 0xf8;

    private readonly bool _packed = type == TensorType.Int4Group32;
    private readonly bool _fifths = type == TensorType.Q5_0;

    internal override int Values => WeightTile.BlockValues;

    internal override int StoredBytes => TensorTypes.BlockBytes(type);

    internal override bool HasTable => _packed;

    internal override void Constants()
    {
        Constant(Nibbles, 0x0f0f0f0f);
        if (_packed)
        {
            // Where a word's nibbles begin: for each pair of words, lower halves of both, upper halves of both.
            Offsets(Lower, 0x2c28_2420_0c08_0400);
            Offsets(Upper, 0x3c38_3430_1c18_1410);
        }

        if (_fifths)
        {
            // Bits ascending, each at the fifth place of a byte.
            Offsets(Lower, 0x1f1e_1d1c_3f3e_3d3c);
            Constant(FifthBit, 0x10101010);
        }
    }

    internal override void Write()
    {
        Scales();
        Turn16(StoredBytes - HalfBits, 0, FreeSums);
        Routine.BeginSums(_fifths ? NibbleBits : NibbleBits - 1, 0);
        if (_packed)
        {
            for (var word = 0; word < Words; word++)
            {
                Spread(word, Lower, 2 * word);
                Spread(word, Upper, (2 * word) + 1);
            }
        }
        else
        {
            for (var word = 0; word < 2 * Words; word++)
            {
                Split(word);
            }
        }

        Routine.AddSums(V(Scale), V(Factor), 0);
    }

    internal override void WriteTable()
    {
        Turn16(0, 0, FreeSums);
        for (var word = 0; word < Words; word++)
        {
            // The upper half of a single is one as it is.
            C.vpslld(V(Scale), V(word), HalfBits);
            C.vmovups(__zmmword_ptr[ByteStreamRoutine.Kept(2 * word)], V(Scale));
            C.vpsrld(V(word), V(word), HalfBits);
            C.vpslld(V(word), V(word), HalfBits);
            C.vmovups(__zmmword_ptr[ByteStreamRoutine.Kept((2 * word) + 1)], V(word));
        }
    }

    private void Offsets(int vector, ulong bits)
    {
        C.mov(rax, bits);
        C.vpbroadcastq(V(vector), rax);
    }

    private void Scales()
    {
        if (_packed)
        {
            C.vmovups(V(Scale), __zmmword_ptr[ByteStreamRoutine.TableRow()]);
            return;
        }

        TurnWords(0, _fifths ? 2 : 1, Scale, FreeSums);
        if (_fifths)
        {
            C.vpslld(V(Fifths), V(Fifths), HalfBits);
            C.vpsrld(V(Factor), V(Scale), HalfBits);
            C.vpord(V(Fifths), V(Fifths), V(Factor));
        }

        Singles(Scale, Scale);
    }

    private void Spread(int word, int offsets, int inputs)
    {
        var weights = V(Weights + (inputs % 2));
        C.vpmultishiftqb(weights, V(offsets), V(word));
        C.vpandd(weights, weights, V(Nibbles));
        Routine.Multiply(weights, inputs);
    }

    private void Split(int word)
    {
        var weights = V(Weights + (word % 2));
        var source = V(word % Words);
        if (word >= Words)
        {
            C.vpsrld(weights, source, NibbleBits);
            source = weights;
        }

        C.vpandd(weights, source, V(Nibbles));
        if (_fifths)
        {
            C.vpsrld(V(Factor), V(Fifths), (byte)(word * NibbleBits));
            C.vpmultishiftqb(V(Factor), V(Lower), V(Factor));
            C.vpternlogd(weights, V(Factor), V(FifthBit), FirstOrBothOthers);
        }

        Routine.Multiply(weights, word);
    }
}
