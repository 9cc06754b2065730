using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Kimi.Mooncake.Kernels.Cpu.Int8;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>Parts of tiles that have an instruction of their own on some processors give the same everywhere.</summary>
internal sealed unsafe class Int8TileTests
{
    [Test]
    public void Columns_AnyWay_AreTheWordsOfRows()
    {
        const int Stride = 34;
        using var buffer = Random(16 * Stride, 1);
        var words = new uint[4, 16];
        for (var row = 0; row < 16; row++)
        {
            for (var word = 0; word < 4; word++)
            {
                words[word, row] = BitConverter.ToUInt32(buffer.Span((row * Stride) + 2 + (4 * word), 4));
            }
        }

        var ways = new List<WordColumns> { TileRows.ColumnsByWords(buffer.Pointer + 2, Stride) };
        if (Sse2.IsSupported)
        {
            ways.Add(TileRows.Columns128(buffer.Pointer + 2, Stride));
        }

        if (Avx512F.IsSupported)
        {
            ways.Add(TileRows.Columns512(buffer.Pointer + 2, Stride));
        }

        foreach (var way in ways)
        {
            for (var row = 0; row < 16; row++)
            {
                Assert.That(way.W0[row], Is.EqualTo(words[0, row]));
                Assert.That(way.W1[row], Is.EqualTo(words[1, row]));
                Assert.That(way.W2[row], Is.EqualTo(words[2, row]));
                Assert.That(way.W3[row], Is.EqualTo(words[3, row]));
            }
        }
    }

    [Test]
    public void SpreadByShifts_AnyWords_GivesNibblesAscending()
    {
        using var buffer = Random(64, 2);
        using var target = new NativeBuffer(128);

        BlockTiles.SpreadByShifts(Vector512.Load((uint*)buffer.Pointer), target.Pointer);

        for (var row = 0; row < 16; row++)
        {
            for (var i = 0; i < 8; i++)
            {
                var expected = (buffer.Pointer[(4 * row) + (i / 2)] >> (i % 2 * 4)) & 15;
                Assert.That(target.Pointer[(i / 4 * 64) + (4 * row) + (i % 4)], Is.EqualTo(expected), $"{row}, {i}");
            }
        }
    }

    [Test]
    public void ValuesByQuarters_EveryCode_IsTheDoubledValueAnd16()
    {
        sbyte[] doubled = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
        var codes = Vector512.Create(0x0706050403020100ul, 0x0f0e0d0c0b0a0908ul, 0, 0, 0, 0, 0, 0x0f0e0d0c0b0a0908ul);

        var values = BlockTiles.ValuesByQuarters(codes.AsUInt32()).AsByte();

        for (var i = 0; i < 16; i++)
        {
            Assert.That(values[i], Is.EqualTo(doubled[i] + 16));
        }

        Assert.That(values[63], Is.EqualTo(4));
    }

    [Test]
    public void PairsByShifts_ProductsOfBytes_AddUpExactly()
    {
        foreach (var (weight, input) in new[] { (255, 127), (255, -127), (0, -127), (3, 2), (255, -128) })
        {
            var sums = PortableInt8.PairsByShifts(
                Vector512.Create((short)weight), Vector512.Create((short)input));

            Assert.That(sums, Is.EqualTo(Vector512.Create(2 * weight * input)));
        }
    }

    private static NativeBuffer Random(int bytes, int seed)
    {
        var buffer = new NativeBuffer(bytes);
        new Random(seed).NextBytes(buffer.Span(0, bytes));
        return buffer;
    }
}
