using System.Numerics;
using System.Text;

namespace Kimi.Mooncake.Store.Tests;

public sealed class Crc32CTests
{
    [TestCase("", 0u)]
    [TestCase("123456789", 0xE3069283u)]
    [TestCase("The quick brown fox jumps over the lazy dog", 0x22620404u)]
    public void Checksum_KnownText_IsThePublishedValue(string text, uint expected) =>
        Assert.That(Crc32C.Finish(Crc32C.Append(Crc32C.Start, Encoding.ASCII.GetBytes(text))), Is.EqualTo(expected));

    [Test]
    public void Append_AnyLengthAndCut_EqualsOneByteAtATime()
    {
        var random = new Random(7);
        var bytes = TestBlocks.Bytes(7, 60_000);
        for (var round = 0; round < 200; round++)
        {
            var from = random.Next(bytes.Length);
            var to = random.Next(from, bytes.Length + 1);
            var cut = random.Next(from, to + 1);
            var expected = Crc32C.Start;
            foreach (var value in bytes.AsSpan(from..to))
            {
                expected = BitOperations.Crc32C(expected, value);
            }

            var actual = Crc32C.Append(Crc32C.Append(Crc32C.Start, bytes.AsSpan(from..cut)), bytes.AsSpan(cut..to));

            Assert.That(actual, Is.EqualTo(expected), $"{from}..{cut}..{to}");
        }
    }
}
