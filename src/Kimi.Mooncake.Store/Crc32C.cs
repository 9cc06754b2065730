using System.Numerics;
using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Store;

/// <summary>
/// CRC-32C (Castagnoli) with the processor's instruction where it has one. The instruction takes three cycles and can
/// begin every cycle, so that long input is cut into three lanes that are computed side by side and then joined: the
/// state after a lane of zeros is a linear map of the state before it, and that map is four table look-ups.
/// </summary>
internal static class Crc32C
{
    /// <summary>Value to begin with.</summary>
    public const uint Start = uint.MaxValue;

    private const int LaneWords = 512;
    private const int StripeWords = 3 * LaneWords;

    private static readonly uint[] AfterZeroLane = BuildAfterZeroLane();

    /// <summary>Takes more bytes in.</summary>
    public static uint Append(uint state, ReadOnlySpan<byte> bytes)
    {
        var words = MemoryMarshal.Cast<byte, ulong>(bytes);
        var tail = bytes[(words.Length * sizeof(ulong))..];
        while (words.Length >= StripeWords)
        {
            state = AppendStripe(state, words[..StripeWords]);
            words = words[StripeWords..];
        }

        foreach (var word in words)
        {
            state = BitOperations.Crc32C(state, word);
        }

        foreach (var value in tail)
        {
            state = BitOperations.Crc32C(state, value);
        }

        return state;
    }

    /// <summary>The checksum of everything taken in.</summary>
    public static uint Finish(uint state) => ~state;

    private static uint AppendStripe(uint state, ReadOnlySpan<ulong> stripe)
    {
        var first = stripe[..LaneWords];
        var second = stripe.Slice(LaneWords, LaneWords);
        var third = stripe.Slice(2 * LaneWords, LaneWords);
        uint b = 0;
        uint c = 0;
        for (var i = 0; i < LaneWords; i++)
        {
            state = BitOperations.Crc32C(state, first[i]);
            b = BitOperations.Crc32C(b, second[i]);
            c = BitOperations.Crc32C(c, third[i]);
        }

        return SkipLane(SkipLane(state) ^ b) ^ c;
    }

    private static uint SkipLane(uint state) =>
        AfterZeroLane[state & 0xFF] ^ AfterZeroLane[256 + ((state >> 8) & 0xFF)] ^
        AfterZeroLane[512 + ((state >> 16) & 0xFF)] ^ AfterZeroLane[768 + (state >> 24)];

    private static uint[] BuildAfterZeroLane()
    {
        var table = new uint[4 * 256];
        for (var bit = 0; bit < 32; bit++)
        {
            var state = 1u << bit;
            for (var i = 0; i < LaneWords; i++)
            {
                state = BitOperations.Crc32C(state, 0UL);
            }

            var row = table.AsSpan(bit / 8 * 256, 256);
            for (var value = 0; value < row.Length; value++)
            {
                row[value] ^= (value >> (bit % 8) & 1) == 0 ? 0 : state;
            }
        }

        return table;
    }
}
