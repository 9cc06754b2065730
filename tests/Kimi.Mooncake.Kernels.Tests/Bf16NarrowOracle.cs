using System.Buffers.Binary;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>Reads panels of bfloat16 in 11 bits, value by value, by the format's description.</summary>
internal static class Bf16NarrowOracle
{
    private const int Outputs = 32;
    private const int HeaderBytes = 64;
    private const int BlockBytes = 704;

    /// <summary>The values of a panel, row after row.</summary>
    internal static ushort[] Decode(ReadOnlySpan<byte> panel, int inputs)
    {
        var writtenBytes = (int)BinaryPrimitives.ReadInt64LittleEndian(panel[16..]);
        var (written, values) = (HeaderBytes, new ushort[Outputs * inputs]);
        for (var first = 0; first < inputs; first += 4)
        {
            var block = panel[(HeaderBytes + writtenBytes + (first / 16 * BlockBytes))..];
            var quarter = first % 16 / 4;
            for (var group = 0; group < 2; group++)
            {
                for (var i = 0; i < 64; i++)
                {
                    var code = (Codes(block[512..], quarter, i) >> (3 * group)) & 7;
                    var exponent = code == 0 ? panel[written++] : panel[(8 * group) + code];
                    var rest = block[(quarter * 128) + (group * 64) + i];
                    var (output, input) = Place(i);
                    values[(((16 * group) + output) * inputs) + first + input] =
                        (ushort)(((rest & 1) << 15) | (exponent << 7) | (rest >> 1));
                }
            }
        }

        Assert.That(written, Is.InRange(HeaderBytes + writtenBytes - 63, HeaderBytes + writtenBytes));
        return values;
    }

    private static int Codes(ReadOnlySpan<byte> codes, int quarter, int i) =>
        quarter < 3
            ? codes[(64 * quarter) + i]
            : (codes[i] >> 6) | (codes[64 + i] >> 6 << 2) | (codes[128 + i] >> 6 << 4);

    /// <summary>Output and input of a byte: each 16 have 8 of the first pair of inputs, then 8 of the second.</summary>
    private static (int Output, int Input) Place(int i)
    {
        var (lane, inLane) = Math.DivRem(i, 16);
        var (pair, value) = Math.DivRem(inLane, 8);
        return ((lane * 4) + (value / 2), (2 * pair) + (value % 2));
    }
}
