using System.Buffers;
using System.IO.Compression;
using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Store;

/// <summary>
/// Makes blocks smaller: the bytes of equal significance of values of 4 or 2 bytes lie together, where they are alike,
/// and are compressed by Brotli at a low level. Other values come back as well, but gain little. What is unpacked has
/// the checksums of the block still before it.
/// </summary>
internal static class BlockCompressor
{
    private const int ValueBytes = sizeof(float);
    private const int Quality = 1;
    private const int WindowBits = 18;

    // A block must become smaller by this share of itself to be worth unpacking.
    private const int WorthwhileShare = 16;

    /// <summary>Packs a block.</summary>
    /// <param name="payload">The block.</param>
    /// <param name="packed">At least as long.</param>
    /// <returns>Bytes of the packed block; 0 when it did not become smaller.</returns>
    public static int Pack(ReadOnlySpan<byte> payload, Span<byte> packed)
    {
        var shuffled = ArrayPool<byte>.Shared.Rent(payload.Length);
        try
        {
            Shuffle(payload, shuffled);
            var most = payload.Length - (payload.Length / WorthwhileShare);
            return BrotliEncoder.TryCompress(
                shuffled.AsSpan(0, payload.Length), packed[..most], out var bytes, Quality, WindowBits)
                ? bytes
                : 0;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(shuffled);
        }
    }

    /// <summary>Unpacks a block; false when it is not one of the right length.</summary>
    public static bool TryUnpack(ReadOnlySpan<byte> packed, Span<byte> payload)
    {
        var shuffled = ArrayPool<byte>.Shared.Rent(payload.Length);
        try
        {
            if (!BrotliDecoder.TryDecompress(packed, shuffled.AsSpan(0, payload.Length), out var bytes) ||
                bytes != payload.Length)
            {
                return false;
            }

            Unshuffle(shuffled.AsSpan(0, payload.Length), payload);
            return true;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(shuffled);
        }
    }

    private static void Shuffle(ReadOnlySpan<byte> payload, Span<byte> shuffled)
    {
        var values = MemoryMarshal.Cast<byte, uint>(payload);
        var count = values.Length;
        for (var i = 0; i < count; i++)
        {
            var value = values[i];
            shuffled[i] = (byte)value;
            shuffled[count + i] = (byte)(value >> 8);
            shuffled[(2 * count) + i] = (byte)(value >> 16);
            shuffled[(3 * count) + i] = (byte)(value >> 24);
        }

        payload[(count * ValueBytes)..].CopyTo(shuffled[(count * ValueBytes)..]);
    }

    private static void Unshuffle(ReadOnlySpan<byte> shuffled, Span<byte> payload)
    {
        var values = MemoryMarshal.Cast<byte, uint>(payload);
        var count = values.Length;
        for (var i = 0; i < count; i++)
        {
            values[i] = shuffled[i] | ((uint)shuffled[count + i] << 8) |
                ((uint)shuffled[(2 * count) + i] << 16) | ((uint)shuffled[(3 * count) + i] << 24);
        }

        shuffled[(count * ValueBytes)..].CopyTo(payload[(count * ValueBytes)..]);
    }
}
