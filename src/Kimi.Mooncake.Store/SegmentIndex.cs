using System.Buffers.Binary;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>Where a block lies, as its segment's index says.</summary>
internal readonly record struct IndexedBlock(BlockKey Key, long Address);

/// <summary>
/// The index file beside each segment: entries of 48 bytes, each with its own CRC-32C, appended after the blocks that
/// they name are on disk. Little-endian: key 32, offset in the segment 8, spare 4, CRC 4. The CRC also covers the
/// store's identity and the segment's number, which are not written: an entry of another model, layout or segment does
/// not pass.
/// </summary>
internal static class SegmentIndex
{
    public const int EntryBytes = 48;

    // Entries are written twice where an append failed half-way; a longer file is not this store's work.
    private const int RetriesMax = 2;

    private const int OffsetAt = BlockKey.SizeBytes;
    private const int ChecksumAt = 44;

    /// <summary>Appends entries, and waits until the drive has them if asked to.</summary>
    /// <exception cref="IOException">The disk refuses; a part may have been written.</exception>
    public static void Append(
        string path, StoreGeometry geometry, int segment, ReadOnlySpan<IndexedBlock> blocks, bool sync)
    {
        var bytes = new byte[blocks.Length * EntryBytes];
        for (var i = 0; i < blocks.Length; i++)
        {
            var entry = bytes.AsSpan(i * EntryBytes, EntryBytes);
            blocks[i].Key.CopyTo(entry);
            BinaryPrimitives.WriteInt64LittleEndian(
                entry[OffsetAt..], blocks[i].Address - geometry.SegmentStart(segment));
            BinaryPrimitives.WriteUInt32LittleEndian(entry[ChecksumAt..], Checksum(entry, geometry, segment));
        }

        using var file = File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.ReadWrite);
        // What an interrupted append left behind is overwritten, so that entries stay aligned.
        var end = RandomAccess.GetLength(file) / EntryBytes * EntryBytes;
        RandomAccess.Write(file, bytes, end);
        if (sync)
        {
            RandomAccess.FlushToDisk(file);
        }
    }

    /// <summary>Reads what passes its check and lies inside the segment's file.</summary>
    /// <param name="path">The index file.</param>
    /// <param name="geometry">Sizes and identity of the store.</param>
    /// <param name="segment">Number of the segment.</param>
    /// <param name="dataBytes">Bytes of the segment's file.</param>
    /// <param name="damaged">Entries that do not pass.</param>
    public static List<IndexedBlock> Read(
        string path, StoreGeometry geometry, int segment, long dataBytes, out int damaged)
    {
        using var file = File.OpenHandle(path);
        var size = RandomAccess.GetLength(file);
        var length = (int)Math.Min(size, RetriesMax * geometry.SegmentBytes / geometry.EntryBytes * EntryBytes);
        var bytes = new byte[length];
        var read = 0;
        while (read < length)
        {
            var count = RandomAccess.Read(file, bytes.AsSpan(read), read);
            if (count == 0)
            {
                break;
            }

            read += count;
        }

        damaged = read % EntryBytes == 0 && read == size ? 0 : 1;
        var blocks = new List<IndexedBlock>(read / EntryBytes);
        for (var at = 0; at + EntryBytes <= read; at += EntryBytes)
        {
            var entry = bytes.AsSpan(at, EntryBytes);
            var offset = BinaryPrimitives.ReadInt64LittleEndian(entry[OffsetAt..]);
            var passes = BinaryPrimitives.ReadUInt32LittleEndian(entry[ChecksumAt..]) ==
                Checksum(entry, geometry, segment);
            if (passes && offset >= 0 && offset <= dataBytes - geometry.EntryBytes)
            {
                blocks.Add(new IndexedBlock(
                    new BlockKey(entry[..BlockKey.SizeBytes]), geometry.SegmentStart(segment) + offset));
            }
            else
            {
                damaged++;
            }
        }

        return blocks;
    }

    private static uint Checksum(ReadOnlySpan<byte> entry, StoreGeometry geometry, int segment)
    {
        Span<byte> scope = stackalloc byte[24];
        BinaryPrimitives.WriteUInt128LittleEndian(scope, geometry.Identity);
        BinaryPrimitives.WriteInt64LittleEndian(scope[16..], segment);
        return Crc32C.Finish(Crc32C.Append(Crc32C.Append(Crc32C.Start, scope), entry[..ChecksumAt]));
    }
}
