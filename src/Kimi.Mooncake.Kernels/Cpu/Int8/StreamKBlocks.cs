using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>Q4_K: scale, scale of minima, eight scales and minima of 6 bits, 128 bytes of nibbles.</summary>
internal sealed class NibbleKBlock(ByteStreamRoutine routine, Assembler c) : StreamBlock(routine, c)
{
    private const int Words = 8;
    private const int Parts = 8;
    private const int HeaderBytes = 16;
    private const int PairBytes = 32;
    private const int NibbleBits = 4;
    private const int HalfBits = 16;
    private const int ByteBits = 8;
    private const int Weights = 8;
    private const int Scale = 10;
    private const int Minimum = 11;
    private const int Factor = 12;
    private const int Nibbles = 13;
    private const int Sixes = 14;
    private const int HighTwo = 15;
    private const byte FirstOrBothOthers = 0xf8;

    internal override int Values => TensorTypes.BlockValues(TensorType.Q4_K);

    internal override int StoredBytes => TensorTypes.BlockBytes(TensorType.Q4_K);

    internal override void Constants()
    {
        Constant(Nibbles, 0x0f0f0f0f);
        Constant(Sixes, 0x3f3f3f3f);
        Constant(HighTwo, 0x30303030);
    }

    internal override void Write()
    {
        ScalesAndMinima();
        for (var part = 0; part < Parts; part++)
        {
            if (part % 2 == 0)
            {
                Turn32(HeaderBytes + (part / 2 * PairBytes), 0, FreeSums);
            }

            Routine.BeginSums(0, part);
            for (var word = 0; word < Words; word++)
            {
                var weights = V(Weights + (word % 2));
                if (part % 2 == 0)
                {
                    C.vpandd(weights, V(word), V(Nibbles));
                }
                else
                {
                    C.vpsrld(weights, V(word), NibbleBits);
                    C.vpandd(weights, weights, V(Nibbles));
                }

                Routine.Multiply(weights, (part * Words) + word);
            }

            C.vmovups(V(Scale), __zmmword_ptr[ByteStreamRoutine.Kept(part)]);
            C.vmovups(V(Minimum), __zmmword_ptr[ByteStreamRoutine.Kept(Parts + part)]);
            Routine.AddSums(V(Scale), V(Factor), part);
            Routine.AddMinima(V(Minimum), part);
        }
    }

    /// <summary>All of a block's, to where the routine keeps them.</summary>
    private void ScalesAndMinima()
    {
        const int Between = 6;
        Turn16(0, 0, FreeSums);
        Singles(Scale, 0);
        C.vpsrld(V(0), V(0), HalfBits);
        Singles(Minimum, 0);

        // The upper four have their low bits in the last word, their high bits above the lower four.
        C.vpandd(V(4), V(3), V(Nibbles));
        C.vpsrld(V(Between), V(1), 2);
        C.vpternlogd(V(4), V(Between), V(HighTwo), FirstOrBothOthers);
        C.vpsrld(V(5), V(3), NibbleBits);
        C.vpandd(V(5), V(5), V(Nibbles));
        C.vpsrld(V(Between), V(2), 2);
        C.vpternlogd(V(5), V(Between), V(HighTwo), FirstOrBothOthers);
        C.vpandd(V(1), V(1), V(Sixes));
        C.vpandd(V(2), V(2), V(Sixes));
        Four(1, Scale, 0);
        Four(4, Scale, Parts / 2);
        Four(2, Minimum, Parts);
        Four(5, Minimum, Parts + (Parts / 2));
    }

    /// <summary>The bytes of words, each times a scale.</summary>
    private void Four(int words, int scale, int kept)
    {
        const int One = FreeSums;
        for (var i = 0; i < 4; i++)
        {
            C.vpslld(V(One + i), V(words), (byte)((3 - i) * ByteBits));
            C.vpsrld(V(One + i), V(One + i), 3 * ByteBits);
            C.vcvtdq2ps(V(One + i), V(One + i));
            C.vmulps(V(One + i), V(One + i), V(scale));
            C.vmovups(__zmmword_ptr[ByteStreamRoutine.Kept(kept + i)], V(One + i));
        }
    }
}

/// <summary>Q6_K: 128 bytes of low nibbles, 64 of two bits above, a scale for each 16, a scale of those.</summary>
internal sealed class SixBitKBlock(ByteStreamRoutine routine, Assembler c) : StreamBlock(routine, c)
{
    private const int Words = 4;
    private const int HalfParts = 4;
    private const int Parts = 16;
    private const int LowBytes = 64;
    private const int PairBytes = 32;
    private const int HalfBytes = 16;
    private const int HighAt = 128;
    private const int ScalesAt = 192;
    private const int NibbleBits = 4;
    private const int HalfBits = 16;
    private const int ByteBits = 8;
    private const int ZeroShift = 5;
    private const int Scale = 4;
    private const int Factor = 5;
    private const int Nibbles = 6;
    private const int Sixes = 7;
    private const int High = 8;
    private const byte FirstWhereSecond = 0xe2;

    internal override int Values => TensorTypes.BlockValues(TensorType.Q6_K);

    internal override int StoredBytes => TensorTypes.BlockBytes(TensorType.Q6_K);

    internal override int SumsOf32 => 2;

    internal override void Constants()
    {
        Constant(Nibbles, 0x0f0f0f0f);
        Constant(Sixes, 0x3f3f3f3f);
    }

    internal override void Write()
    {
        Scales();
        for (var half = 0; half < 2; half++)
        {
            Turn32(HighAt + (half * PairBytes), High, FreeSums);
            for (var part = 0; part < HalfParts; part++)
            {
                Sixteen(half, part, 0);
                Sixteen(half, part, 1);
            }
        }
    }

    /// <summary>The lower or the upper 16 values of 32.</summary>
    private void Sixteen(int half, int part, int upper)
    {
        var place = (((half * HalfParts) + part) * 2) + upper;
        Turn16((half * LowBytes) + (part % 2 * PairBytes) + (upper * HalfBytes), 0, FreeSums);
        Routine.BeginSums(ZeroShift, place);
        for (var word = 0; word < Words; word++)
        {
            var weights = V(word);
            if (part >= 2)
            {
                C.vpsrld(weights, weights, NibbleBits);
            }

            // Two bits for each part, to be above the nibble.
            var high = V(High + (upper * Words) + word);
            var shifted = V(Factor);
            switch (part)
            {
                case 0:
                    C.vpslld(shifted, high, 4);
                    break;
                case 1:
                    C.vpslld(shifted, high, 2);
                    break;
                case 2:
                    shifted = high;
                    break;
                default:
                    C.vpsrld(shifted, high, 2);
                    break;
            }

            // The mask chooses the nibble's bits from the first, others from the second.
            C.vpternlogd(weights, V(Nibbles), shifted, FirstWhereSecond);
            C.vpandd(weights, weights, V(Sixes));
            Routine.Multiply(weights, (place * Words) + word);
        }

        C.vmovups(V(Scale), __zmmword_ptr[ByteStreamRoutine.Kept(place)]);
        Routine.AddSums(V(Scale), V(Factor), place / 2);
    }

    /// <summary>Sixteen signed scales times the one of the block, to where the routine keeps them.</summary>
    private void Scales()
    {
        const int One = FreeSums;

        // The last word's upper part is the last of what is stored.
        Turn16(ScalesAt + 2, 0, FreeSums);
        C.vpsrld(V(Scale), V(3), HalfBits);
        Singles(Scale, Scale);
        Turn16(ScalesAt, 0, FreeSums);
        for (var i = 0; i < Parts; i++)
        {
            var one = V(One + (i % 4));
            C.vpslld(one, V(i / 4), (byte)((3 - (i % 4)) * ByteBits));
            C.vpsrad(one, one, 3 * ByteBits);
            C.vcvtdq2ps(one, one);
            C.vmulps(one, one, V(Scale));
            C.vmovups(__zmmword_ptr[ByteStreamRoutine.Kept(i)], one);
        }
    }
}
