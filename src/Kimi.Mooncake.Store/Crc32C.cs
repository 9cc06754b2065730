using System.Numerics;
using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Store;

/// <summary>CRC-32C (Castagnoli), eight bytes a step, with the processor's instruction where it has one.</summary>
internal static class Crc32C
{
    /// <summary>Value to begin with.</summary>
    public const uint Start = uint.MaxValue;

    /// <summary>Takes more bytes in.</summary>
    public static uint Append(uint state, ReadOnlySpan<byte> bytes)
    {
        var words = MemoryMarshal.Cast<byte, ulong>(bytes);
        foreach (var word in words)
        {
            state = BitOperations.Crc32C(state, word);
        }

        foreach (var value in bytes[(words.Length * sizeof(ulong))..])
        {
            state = BitOperations.Crc32C(state, value);
        }

        return state;
    }

    /// <summary>The checksum of everything taken in.</summary>
    public static uint Finish(uint state) => ~state;
}
