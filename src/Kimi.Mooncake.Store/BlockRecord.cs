using System.Buffers.Binary;
using System.Text;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>How the payload of a record lies on disk.</summary>
internal enum BlockEncoding : byte
{
    /// <summary>As it was put.</summary>
    Plain = 0,

    /// <summary>Bytes of equal significance together, then Brotli.</summary>
    ShuffledBrotli = 1,
}

/// <summary>
/// When a block goes, on the wall clock, in milliseconds since 1970; <see cref="long.MaxValue"/> never.
/// </summary>
internal readonly record struct StoredRetention(PinKind Pin, long PinUntilMs, long ExpiresMs, int Priority)
{
    /// <summary>What is left of it.</summary>
    public BlockRetention From(long nowMs)
    {
        var pin = PinUntilMs <= nowMs ? PinKind.None : Pin;
        return new BlockRetention(
            pin, pin == PinKind.None ? 0 : SecondsTo(PinUntilMs, nowMs), SecondsTo(ExpiresMs, nowMs), Priority);
    }

    private static int SecondsTo(long endMs, long nowMs) => endMs == long.MaxValue
        ? 0
        : (int)Math.Clamp((endMs - nowMs + 999) / 1000, 1, BlockRetention.SecondsMax);
}

/// <summary>What is needed to read and write records.</summary>
/// <param name="Identity">16 bytes that stand for format version, layout, model and segment size.</param>
/// <param name="PayloadBytes">Bytes of a block.</param>
/// <param name="LayerCount">Its layers, each of as many bytes.</param>
/// <param name="SegmentBytes">Bytes of a segment.</param>
internal sealed record RecordFormat(UInt128 Identity, int PayloadBytes, int LayerCount, long SegmentBytes)
{
    public int LayerBytes => PayloadBytes / LayerCount;

    public int HeaderBytes { get; } = BlockRecord.HeaderBytesOf(LayerCount);
}

/// <summary>What a record says of its block besides the payload.</summary>
internal readonly record struct BlockHeader(
    BlockKey Key, BlockKey Parent, int StoredBytes, uint StoredChecksum, int Tokens, StoredRetention Retention,
    long StoredAtMs, BlockClass Class, BlockEncoding Encoding, string Tenant);

/// <summary>
/// The header before each block in the log, little-endian: magic 4, version 2, header bytes 2, key 32, parent key 32,
/// identity 16, payload bytes 4, stored bytes 4, CRC-32C of the stored bytes 4 (0 where they are the payload), tokens
/// 4, pin's end 8, expiry 8, time of the put 8, pin 1, priority 1, class 1, encoding 1, layers 2, bytes of the
/// tenant's name 2, name 120, CRC-32C of each layer's payload 4 each, padding, and last CRC-32C of the header before
/// it 4.
/// </summary>
internal static class BlockRecord
{
    /// <summary>Most bytes of a tenant's name in UTF-8.</summary>
    public const int TenantBytesMax = BlockAttributes.TenantBytesMax;

    /// <summary>Where the layers' checksums begin.</summary>
    public const int LayersAt = 256;

    private const uint Magic = 0x4B56424B; // "KBVK" in the file
    private const int AlignBytes = 64;
    private const int KeyAt = 8;
    private const int ParentAt = 40;
    private const int IdentityAt = 72;
    private const int PayloadBytesAt = 88;
    private const int StoredBytesAt = 92;
    private const int StoredChecksumAt = 96;
    private const int TokensAt = 100;
    private const int PinUntilAt = 104;
    private const int ExpiresAt = 112;
    private const int StoredAtAt = 120;
    private const int PinAt = 128;
    private const int LayerCountAt = 132;
    private const int TenantBytesAt = 134;
    private const int TenantAt = 136;

    public static int HeaderBytesOf(int layers) =>
        (LayersAt + (layers * sizeof(uint)) + sizeof(uint) + AlignBytes - 1) / AlignBytes * AlignBytes;

    /// <summary>Writes all of a header.</summary>
    /// <param name="destination">As many bytes as the geometry's headers have.</param>
    /// <param name="format">Sizes and identity.</param>
    /// <param name="header">What to write.</param>
    /// <param name="layers">CRC-32C of each layer's payload.</param>
    public static void Write(
        Span<byte> destination, RecordFormat format, in BlockHeader header, ReadOnlySpan<uint> layers)
    {
        destination.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(destination, Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[4..], StoreGeometry.FormatVersion);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[6..], (ushort)destination.Length);
        header.Key.CopyTo(destination[KeyAt..]);
        header.Parent.CopyTo(destination[ParentAt..]);
        BinaryPrimitives.WriteUInt128LittleEndian(destination[IdentityAt..], format.Identity);
        BinaryPrimitives.WriteInt32LittleEndian(destination[PayloadBytesAt..], format.PayloadBytes);
        BinaryPrimitives.WriteInt32LittleEndian(destination[StoredBytesAt..], header.StoredBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[StoredChecksumAt..], header.StoredChecksum);
        BinaryPrimitives.WriteInt32LittleEndian(destination[TokensAt..], header.Tokens);
        BinaryPrimitives.WriteInt64LittleEndian(destination[PinUntilAt..], header.Retention.PinUntilMs);
        BinaryPrimitives.WriteInt64LittleEndian(destination[ExpiresAt..], header.Retention.ExpiresMs);
        BinaryPrimitives.WriteInt64LittleEndian(destination[StoredAtAt..], header.StoredAtMs);
        destination[PinAt] = (byte)header.Retention.Pin;
        destination[PinAt + 1] = (byte)header.Retention.Priority;
        destination[PinAt + 2] = (byte)header.Class;
        destination[PinAt + 3] = (byte)header.Encoding;
        BinaryPrimitives.WriteUInt16LittleEndian(destination[LayerCountAt..], (ushort)layers.Length);
        var name = Encoding.UTF8.GetBytes(header.Tenant, destination.Slice(TenantAt, TenantBytesMax));
        BinaryPrimitives.WriteUInt16LittleEndian(destination[TenantBytesAt..], (ushort)name);
        for (var i = 0; i < layers.Length; i++)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(destination[(LayersAt + (i * sizeof(uint)))..], layers[i]);
        }

        BinaryPrimitives.WriteUInt32LittleEndian(destination[^sizeof(uint)..], Checksum(destination));
    }

    /// <summary>Whether this is an undamaged header of a record written by a store of this identity.</summary>
    public static bool IsIntact(ReadOnlySpan<byte> header, RecordFormat format) =>
        BinaryPrimitives.ReadUInt32LittleEndian(header) == Magic &&
        BinaryPrimitives.ReadUInt16LittleEndian(header[4..]) == StoreGeometry.FormatVersion &&
        BinaryPrimitives.ReadUInt16LittleEndian(header[6..]) == header.Length &&
        BinaryPrimitives.ReadUInt32LittleEndian(header[^sizeof(uint)..]) == Checksum(header) &&
        BinaryPrimitives.ReadUInt128LittleEndian(header[IdentityAt..]) == format.Identity &&
        BinaryPrimitives.ReadInt32LittleEndian(header[PayloadBytesAt..]) == format.PayloadBytes &&
        BinaryPrimitives.ReadUInt16LittleEndian(header[LayerCountAt..]) == format.LayerCount &&
        StoredBytes(header) is > 0 and var stored && stored <= format.PayloadBytes &&
        BinaryPrimitives.ReadUInt16LittleEndian(header[TenantBytesAt..]) <= TenantBytesMax;

    /// <summary>Version of the record that begins here; 0 where none does.</summary>
    public static int VersionOf(ReadOnlySpan<byte> start) =>
        BinaryPrimitives.ReadUInt32LittleEndian(start) == Magic
            ? BinaryPrimitives.ReadUInt16LittleEndian(start[4..])
            : 0;

    public static BlockKey Key(ReadOnlySpan<byte> header) => new(header.Slice(KeyAt, BlockKey.SizeBytes));

    public static int StoredBytes(ReadOnlySpan<byte> header) =>
        BinaryPrimitives.ReadInt32LittleEndian(header[StoredBytesAt..]);

    public static BlockEncoding EncodingOf(ReadOnlySpan<byte> header) => (BlockEncoding)header[PinAt + 3];

    public static uint StoredChecksum(ReadOnlySpan<byte> header) =>
        BinaryPrimitives.ReadUInt32LittleEndian(header[StoredChecksumAt..]);

    /// <summary>CRC-32C of a layer's payload.</summary>
    public static uint LayerChecksum(ReadOnlySpan<byte> header, int layer) =>
        BinaryPrimitives.ReadUInt32LittleEndian(header[(LayersAt + (layer * sizeof(uint)))..]);

    /// <summary>Name of the tenant, of an intact header.</summary>
    public static string Tenant(ReadOnlySpan<byte> header) => Encoding.UTF8.GetString(
        header.Slice(TenantAt, BinaryPrimitives.ReadUInt16LittleEndian(header[TenantBytesAt..])));

    private static uint Checksum(ReadOnlySpan<byte> header) =>
        Crc32C.Finish(Crc32C.Append(Crc32C.Start, header[..^sizeof(uint)]));
}
