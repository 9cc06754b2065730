using System.Text;

namespace Kimi.Mooncake.Core.Tests;

public sealed class Crc32CTests
{
    private const int Rounds = 400;

    private static readonly uint[] Table = BuildTable();

    [TestCase("", 0u)]
    [TestCase("123456789", 0xE3069283u)]
    [TestCase("The quick brown fox jumps over the lazy dog", 0x22620404u)]
    public void Checksum_KnownText_IsThePublishedValue(string text, uint expected) =>
        Assert.That(Crc32C.Finish(Crc32C.Append(Crc32C.Start, Encoding.ASCII.GetBytes(text))), Is.EqualTo(expected));

    [Test]
    public void Append_AnyLengthAndCut_EqualsTheTable([Values(7, 8, 9)] int seed)
    {
        var random = new Random(seed);
        var bytes = Bytes(random, 60_000);
        for (var round = 0; round < Rounds; round++)
        {
            var (from, cut, to) = Cuts(random, bytes.Length);
            var expected = ByTable(Crc32C.Start, bytes.AsSpan(from..to));

            var actual = Crc32C.Append(Crc32C.Append(Crc32C.Start, bytes.AsSpan(from..cut)), bytes.AsSpan(cut..to));
            var lanes = Crc32C.AppendLanes(Crc32C.Start, bytes.AsSpan(from..to));

            Assert.That(actual, Is.EqualTo(expected), $"seed {seed}: {from}..{cut}..{to}");
            Assert.That(lanes, Is.EqualTo(expected), $"seed {seed}, lanes: {from}..{to}");
        }
    }

    [Test]
    public void Copy_AnyLengthAndCut_CopiesAndEqualsTheTable([Values(10, 11, 12)] int seed)
    {
        var random = new Random(seed);
        var bytes = Bytes(random, 60_000);
        for (var round = 0; round < Rounds; round++)
        {
            var (from, cut, to) = Cuts(random, bytes.Length);
            var margin = random.Next(70);
            var copy = new byte[to - from + (2 * margin)];

            var state = Crc32C.Copy(Crc32C.Start, bytes.AsSpan(from..cut), copy.AsSpan(margin));
            state = Crc32C.Copy(state, bytes.AsSpan(cut..to), copy.AsSpan(margin + cut - from));

            Assert.That(state, Is.EqualTo(ByTable(Crc32C.Start, bytes.AsSpan(from..to))), $"seed {seed}");
            Assert.That(copy.AsSpan(margin, to - from).SequenceEqual(bytes.AsSpan(from..to)), $"seed {seed}");
            Assert.That(copy.AsSpan(0, margin).IndexOfAnyExcept((byte)0), Is.EqualTo(-1), "before the copy");
            Assert.That(copy.AsSpan(margin + to - from).IndexOfAnyExcept((byte)0), Is.EqualTo(-1), "after the copy");
        }
    }

    [Test]
    public void Copy_ToLess_IsRefused() =>
        Assert.That(() => Crc32C.Copy(Crc32C.Start, new byte[5], new byte[4]), Throws.ArgumentException);

    private static (int From, int Cut, int To) Cuts(Random random, int length)
    {
        var from = random.Next(length);
        var to = random.Next(from, length + 1);
        return (from, random.Next(from, to + 1), to);
    }

    private static byte[] Bytes(Random random, int count)
    {
        var bytes = new byte[count];
        random.NextBytes(bytes);
        return bytes;
    }

    private static uint ByTable(uint state, ReadOnlySpan<byte> bytes)
    {
        foreach (var value in bytes)
        {
            state = Table[(state ^ value) & 0xFF] ^ (state >> 8);
        }

        return state;
    }

    private static uint[] BuildTable()
    {
        var table = new uint[256];
        for (var index = 0u; index < table.Length; index++)
        {
            var value = index;
            for (var bit = 0; bit < 8; bit++)
            {
                value = (value >> 1) ^ ((value & 1) == 0 ? 0 : 0x82F63B78);
            }

            table[index] = value;
        }

        return table;
    }
}
