using System.Buffers.Binary;
using System.Text;
using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models.Gguf;

/// <summary>
/// Reads little-endian values from one place of a file to the next. Every length is checked against the bytes that are
/// left before anything is allocated.
/// </summary>
internal sealed class GgufCursor(MappedFile file, string path, long offset)
{
    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    /// <summary>Next byte, from the start of the file.</summary>
    public long Offset { get; private set; } = offset;

    /// <summary>Bytes from here to the end of the file.</summary>
    public long Remaining => file.LengthBytes - Offset;

    public ReadOnlySpan<byte> Read(int length, string what)
    {
        Require(length, what);
        var bytes = file.Bytes(Offset, length);
        Offset += length;
        return bytes;
    }

    public uint ReadUInt32(string what) => BinaryPrimitives.ReadUInt32LittleEndian(Read(4, what));

    public ulong ReadUInt64(string what) => BinaryPrimitives.ReadUInt64LittleEndian(Read(8, what));

    /// <summary>A count or length of at most <paramref name="max"/>.</summary>
    public long ReadCount(long max, string what)
    {
        var place = Offset;
        var count = ReadUInt64(what);
        if (count > (ulong)max)
        {
            throw ModelFileException.AtByte(path, place, $"{what} is {count}; expected at most {max}");
        }

        return (long)count;
    }

    public string ReadString(int bytesMax, string what)
    {
        var length = (int)ReadCount(bytesMax, $"the length of {what}");
        var place = Offset;
        var bytes = Read(length, what);
        try
        {
            return StrictUtf8.GetString(bytes);
        }
        catch (DecoderFallbackException error)
        {
            throw new ModelFileException(path, $"byte {place}", $"{what} is not valid UTF-8", error);
        }
    }

    public void Skip(long length, string what)
    {
        Require(length, what);
        Offset += length;
    }

    private void Require(long length, string what)
    {
        if (length > Remaining)
        {
            throw ModelFileException.AtByte(
                path, Offset, $"the file ends inside {what}; expected {length} bytes here, found {Remaining}");
        }
    }
}
