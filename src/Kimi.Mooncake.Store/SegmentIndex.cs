using System.Buffers.Binary;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>What an index entry says of its block.</summary>
internal enum IndexEntryKind : byte
{
    /// <summary>It lies here.</summary>
    Block = 1,

    /// <summary>It lies here, and is kept in this way from now on.</summary>
    Retention = 2,

    /// <summary>It was removed.</summary>
    Removed = 3,
}

/// <summary>An entry of a segment's index.</summary>
internal readonly record struct IndexEntry(
    IndexEntryKind Kind, BlockKey Key, BlockKey Parent, uint Offset, int LogBytes, ulong Tenant, int Tokens,
    StoredRetention Retention, long StoredAtMs, BlockClass Class, BlockEncoding Encoding);

/// <summary>
/// The index file beside each segment: entries of 128 bytes, each with its own CRC-32C, appended after the blocks that
/// they name are on disk. Little-endian: key 32, parent key 32, offset in the segment 4, bytes in the log 4, hash of
/// the tenant's name 8, time of the put 8, pin's end 8, expiry 8, tokens 4, kind 1, pin 1, priority 1, class 1,
/// encoding 1, spare 11, CRC 4. The CRC also covers the store's identity and the segment's number, which are not
/// written: an entry of another model, layout or segment does not pass.
/// </summary>
internal static class SegmentIndex
{
    public const int EntryBytes = 128;

    private const int ReadEntries = 1024;
    private const int ParentAt = 32;
    private const int OffsetAt = 64;
    private const int LogBytesAt = 68;
    private const int TenantAt = 72;
    private const int StoredAtAt = 80;
    private const int PinUntilAt = 88;
    private const int ExpiresAt = 96;
    private const int TokensAt = 104;
    private const int KindAt = 108;
    private const int ChecksumAt = 124;

    /// <summary>Appends entries, and waits until the drive has them if asked to.</summary>
    /// <exception cref="IOException">The disk refuses; a part may have been written.</exception>
    public static void Append(
        string path, UInt128 identity, int segment, ReadOnlySpan<IndexEntry> entries, bool sync)
    {
        var bytes = Serialize(identity, segment, entries);
        using var file = File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite);
        // What an interrupted append left behind is overwritten, so that entries stay aligned.
        var end = RandomAccess.GetLength(file) / EntryBytes * EntryBytes;
        RandomAccess.Write(file, bytes, end);
        if (sync)
        {
            RandomAccess.FlushToDisk(file);
        }
    }

    /// <summary>Puts entries in the place of all that are there, at once.</summary>
    /// <exception cref="IOException">The disk refuses; the old entries are still there.</exception>
    public static void Replace(
        string path, UInt128 identity, int segment, ReadOnlySpan<IndexEntry> entries, bool sync)
    {
        var next = path + ".next";
        using (var file = File.OpenHandle(next, FileMode.Create, FileAccess.Write))
        {
            RandomAccess.Write(file, Serialize(identity, segment, entries), 0);
            if (sync)
            {
                RandomAccess.FlushToDisk(file);
            }
        }

        File.Move(next, path, overwrite: true);
    }

    /// <summary>Reads what passes its check, in the order in which it was written.</summary>
    /// <param name="path">The index file.</param>
    /// <param name="identity">Identity of the store.</param>
    /// <param name="segment">Number of the segment.</param>
    /// <param name="take">Takes the entries, some at a time.</param>
    /// <returns>Entries that do not pass, and whether the end is no whole entry.</returns>
    /// <exception cref="IOException">The disk fails.</exception>
    public static int Read(string path, UInt128 identity, int segment, Action<ReadOnlySpan<IndexEntry>> take)
    {
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        var bytes = new byte[ReadEntries * EntryBytes];
        var entries = new IndexEntry[ReadEntries];
        var damaged = 0;
        for (var at = 0L; ;)
        {
            var length = Fill(file, bytes, at);
            var count = 0;
            for (var i = 0; i + EntryBytes <= length; i += EntryBytes)
            {
                if (TryParse(bytes.AsSpan(i, EntryBytes), identity, segment, out entries[count]))
                {
                    count++;
                }
                else
                {
                    damaged++;
                }
            }

            take(entries.AsSpan(0, count));
            at += length;
            if (length < bytes.Length)
            {
                return damaged + (length % EntryBytes == 0 ? 0 : 1);
            }
        }
    }

    private static int Fill(Microsoft.Win32.SafeHandles.SafeFileHandle file, byte[] bytes, long at)
    {
        var read = 0;
        while (read < bytes.Length && RandomAccess.Read(file, bytes.AsSpan(read), at + read) is > 0 and var count)
        {
            read += count;
        }

        return read;
    }

    private static byte[] Serialize(UInt128 identity, int segment, ReadOnlySpan<IndexEntry> entries)
    {
        var bytes = new byte[entries.Length * EntryBytes];
        for (var i = 0; i < entries.Length; i++)
        {
            Write(bytes.AsSpan(i * EntryBytes, EntryBytes), entries[i], identity, segment);
        }

        return bytes;
    }

    private static void Write(Span<byte> bytes, in IndexEntry entry, UInt128 identity, int segment)
    {
        entry.Key.CopyTo(bytes);
        entry.Parent.CopyTo(bytes[ParentAt..]);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[OffsetAt..], entry.Offset);
        BinaryPrimitives.WriteInt32LittleEndian(bytes[LogBytesAt..], entry.LogBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[TenantAt..], entry.Tenant);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[StoredAtAt..], entry.StoredAtMs);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[PinUntilAt..], entry.Retention.PinUntilMs);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[ExpiresAt..], entry.Retention.ExpiresMs);
        BinaryPrimitives.WriteInt32LittleEndian(bytes[TokensAt..], entry.Tokens);
        bytes[KindAt] = (byte)entry.Kind;
        bytes[KindAt + 1] = (byte)entry.Retention.Pin;
        bytes[KindAt + 2] = (byte)entry.Retention.Priority;
        bytes[KindAt + 3] = (byte)entry.Class;
        bytes[KindAt + 4] = (byte)entry.Encoding;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[ChecksumAt..], Checksum(bytes, identity, segment));
    }

    private static bool TryParse(ReadOnlySpan<byte> bytes, UInt128 identity, int segment, out IndexEntry entry)
    {
        entry = default;
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes[ChecksumAt..]) != Checksum(bytes, identity, segment))
        {
            return false;
        }

        entry = new IndexEntry(
            (IndexEntryKind)bytes[KindAt],
            new BlockKey(bytes[..BlockKey.SizeBytes]),
            new BlockKey(bytes.Slice(ParentAt, BlockKey.SizeBytes)),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[OffsetAt..]),
            BinaryPrimitives.ReadInt32LittleEndian(bytes[LogBytesAt..]),
            BinaryPrimitives.ReadUInt64LittleEndian(bytes[TenantAt..]),
            BinaryPrimitives.ReadInt32LittleEndian(bytes[TokensAt..]),
            new StoredRetention(
                (PinKind)bytes[KindAt + 1],
                BinaryPrimitives.ReadInt64LittleEndian(bytes[PinUntilAt..]),
                BinaryPrimitives.ReadInt64LittleEndian(bytes[ExpiresAt..]),
                bytes[KindAt + 2]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[StoredAtAt..]),
            (BlockClass)bytes[KindAt + 3],
            (BlockEncoding)bytes[KindAt + 4]);
        return true;
    }

    private static uint Checksum(ReadOnlySpan<byte> entry, UInt128 identity, int segment)
    {
        Span<byte> scope = stackalloc byte[24];
        BinaryPrimitives.WriteUInt128LittleEndian(scope, identity);
        BinaryPrimitives.WriteInt64LittleEndian(scope[16..], segment);
        return Crc32C.Finish(Crc32C.Append(Crc32C.Append(Crc32C.Start, scope), entry[..ChecksumAt]));
    }
}
