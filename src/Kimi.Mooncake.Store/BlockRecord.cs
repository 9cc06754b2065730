using System.Buffers.Binary;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>
/// The header before each block in the log, little-endian: magic 4, version 2, header bytes 2, key 32, parent key 32,
/// identity 16, payload bytes 4, CRC-32C 4 over the header before it and the payload.
/// </summary>
internal static class BlockRecord
{
    public const int HeaderBytes = 96;

    private const uint Magic = 0x4B56424B; // "KBVK" in the file
    private const int KeyAt = 8;
    private const int ParentAt = KeyAt + BlockKey.SizeBytes;
    private const int IdentityAt = ParentAt + BlockKey.SizeBytes;
    private const int LengthAt = IdentityAt + 16;
    private const int ChecksumAt = LengthAt + 4;

    public static void WriteHeader(
        Span<byte> header, in BlockKey key, in BlockKey parent, UInt128 identity, ReadOnlySpan<byte> payload)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(header, Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(header[4..], StoreGeometry.FormatVersion);
        BinaryPrimitives.WriteUInt16LittleEndian(header[6..], HeaderBytes);
        key.CopyTo(header[KeyAt..]);
        parent.CopyTo(header[ParentAt..]);
        BinaryPrimitives.WriteUInt128LittleEndian(header[IdentityAt..], identity);
        BinaryPrimitives.WriteInt32LittleEndian(header[LengthAt..], payload.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header[ChecksumAt..], Checksum(header, payload));
    }

    /// <summary>Whether this is an undamaged record of the key, written by a store of the same identity.</summary>
    public static bool IsIntact(
        ReadOnlySpan<byte> header, in BlockKey key, UInt128 identity, ReadOnlySpan<byte> payload) =>
        BinaryPrimitives.ReadUInt32LittleEndian(header) == Magic &&
        BinaryPrimitives.ReadUInt16LittleEndian(header[4..]) == StoreGeometry.FormatVersion &&
        BinaryPrimitives.ReadUInt16LittleEndian(header[6..]) == HeaderBytes &&
        new BlockKey(header.Slice(KeyAt, BlockKey.SizeBytes)) == key &&
        BinaryPrimitives.ReadUInt128LittleEndian(header[IdentityAt..]) == identity &&
        BinaryPrimitives.ReadInt32LittleEndian(header[LengthAt..]) == payload.Length &&
        BinaryPrimitives.ReadUInt32LittleEndian(header[ChecksumAt..]) == Checksum(header, payload);

    private static uint Checksum(ReadOnlySpan<byte> header, ReadOnlySpan<byte> payload) =>
        Crc32C.Finish(Crc32C.Append(Crc32C.Append(Crc32C.Start, header[..ChecksumAt]), payload));
}
