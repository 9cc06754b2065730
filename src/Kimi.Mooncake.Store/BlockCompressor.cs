using System.Buffers;
using System.IO.Compression;
using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Store;

/// <summary>
/// Makes blocks of 4-byte values smaller: the bytes of equal significance lie together, where they are alike, and are
/// deflated. What is unpacked has the checksums of the block still before it.
/// </summary>
internal static class BlockCompressor
{
    private const int ValueBytes = sizeof(float);

    // A block must become smaller by this share of itself to be worth unpacking.
    private const int WorthwhileShare = 16;

    /// <summary>Packs a block.</summary>
    /// <param name="payload">A multiple of 4 bytes.</param>
    /// <param name="packed">At least as long.</param>
    /// <returns>Bytes of the packed block; 0 when it did not become smaller.</returns>
    public static unsafe int Pack(ReadOnlySpan<byte> payload, Span<byte> packed)
    {
        var shuffled = ArrayPool<byte>.Shared.Rent(payload.Length);
        try
        {
            Shuffle(payload, shuffled);
            var most = payload.Length - (payload.Length / WorthwhileShare);
            fixed (byte* target = packed)
            {
                using var stream = new UnmanagedMemoryStream(target, 0, most, FileAccess.Write);
                using (var deflate = new DeflateStream(stream, CompressionLevel.Fastest, leaveOpen: true))
                {
                    deflate.Write(shuffled, 0, payload.Length);
                }

                return (int)stream.Length;
            }
        }
        catch (NotSupportedException)
        {
            // The stream over the packed bytes is full.
            return 0;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(shuffled);
        }
    }

    /// <summary>Unpacks a block; false when it is not one of the right length.</summary>
    public static unsafe bool TryUnpack(ReadOnlySpan<byte> packed, Span<byte> payload)
    {
        var shuffled = ArrayPool<byte>.Shared.Rent(payload.Length);
        try
        {
            fixed (byte* source = packed)
            {
                using var stream = new UnmanagedMemoryStream(source, packed.Length);
                using var inflate = new DeflateStream(stream, CompressionMode.Decompress);
                inflate.ReadExactly(shuffled, 0, payload.Length);
            }

            Unshuffle(shuffled.AsSpan(0, payload.Length), payload);
            return true;
        }
        catch (Exception exception) when (exception is InvalidDataException or EndOfStreamException)
        {
            return false;
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
