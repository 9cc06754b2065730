using System.Buffers.Binary;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>The sizes that follow from the options and the block size, and the identity of what is stored.</summary>
internal sealed class StoreGeometry
{
    /// <summary>Version of the record, index and file layout. A store of another version starts empty.</summary>
    public const int FormatVersion = 1;

    /// <summary>Bytes that the log puts before each record.</summary>
    public const int LogEntryHeaderBytes = 4;

    private const int PageBytesMin = 4096;
    private const long LogBufferBytesMax = 64L << 20;
    private const int LogBufferPagesMin = 4;
    private const int SlotsMin = 8;
    private const int SegmentsMin = 4;
    private const int MemoryShareOfLogBuffer = 4;

    public StoreGeometry(KvBlockStoreOptions options, KvLayout layout, string fingerprint)
    {
        PayloadBytes = layout.BytesPerBlock;
        LayerBytes = layout.BytesPerBlockLayer;
        LayerCount = layout.LayerCount;
        EntryBytes = LogEntryHeaderBytes + ((BlockRecord.HeaderBytes + PayloadBytes + 3) & ~3);
        // A record never spans pages, so that a page of four records loses at most a fifth of itself.
        PageBytes = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(4L * EntryBytes, PageBytesMin));
        if (PageBytes <= 0 || PageBytes > 1 << 30)
        {
            throw new StoreException($"a block has {PayloadBytes} bytes; the store takes blocks up to 256 MiB");
        }

        if (!BitOperations.IsPow2(options.SegmentBytes))
        {
            throw new StoreException($"SegmentBytes is {options.SegmentBytes}; expected a power of two");
        }

        SegmentBytes = Math.Max(options.SegmentBytes, PageBytes);
        SizeMemory(options);
        SizeDisk(options);
        Identity = MakeIdentity(layout, fingerprint, SegmentBytes);
    }

    /// <summary>Bytes of a block.</summary>
    public int PayloadBytes { get; }

    /// <summary>Bytes that a block takes in the log.</summary>
    public int EntryBytes { get; }

    public int PageBytes { get; }

    /// <summary>Bytes of one layer of a block.</summary>
    public int LayerBytes { get; }

    public int LayerCount { get; }

    public long SegmentBytes { get; }

    /// <summary>Bytes of the log's pages in memory, a power of two.</summary>
    public long LogBufferBytes { get; private set; }

    /// <summary>Blocks that the memory tier holds.</summary>
    public int SlotCount { get; private set; }

    /// <summary>Most bytes of the log on disk; what remains of the limit is for its index.</summary>
    public long LogBytesMax { get; private set; }

    /// <summary>16 bytes that stand for format version, layout, model and segment size.</summary>
    public UInt128 Identity { get; }

    public int SegmentOf(long address) => (int)(address / SegmentBytes);

    public long SegmentStart(int segment) => segment * SegmentBytes;

    private void SizeMemory(KvBlockStoreOptions options)
    {
        var wanted = Math.Min(options.MemoryBytes / MemoryShareOfLogBuffer, LogBufferBytesMax);
        var power = wanted < 1 ? 0 : 1L << BitOperations.Log2((ulong)wanted);
        LogBufferBytes = Math.Max(power, (long)LogBufferPagesMin * PageBytes);
        var slots = (options.MemoryBytes - LogBufferBytes) / PayloadBytes;
        if (slots < SlotsMin)
        {
            var needed = ((long)LogBufferPagesMin * PageBytes) + ((long)SlotsMin * PayloadBytes);
            throw new StoreException(
                $"MemoryBytes is {options.MemoryBytes}; blocks of {PayloadBytes} bytes need at least {needed}");
        }

        SlotCount = (int)Math.Min(slots, int.MaxValue / 2);
    }

    private void SizeDisk(KvBlockStoreOptions options)
    {
        var share = (double)EntryBytes / (EntryBytes + SegmentIndex.EntryBytes);
        LogBytesMax = (long)(options.DiskBytes * share) / PageBytes * PageBytes;
        var needed = Math.Max(SegmentsMin * SegmentBytes, 2 * LogBufferBytes);
        if (LogBytesMax < needed)
        {
            throw new StoreException(
                $"DiskBytes is {options.DiskBytes}; segments of {SegmentBytes} bytes and a write buffer of " +
                $"{LogBufferBytes} need at least {(long)Math.Ceiling((needed + PageBytes) / share)}");
        }
    }

    private static UInt128 MakeIdentity(KvLayout layout, string fingerprint, long segmentBytes)
    {
        var text = $"kv-store/{FormatVersion}\n{layout.Describe()}\n{fingerprint}\nsegment={segmentBytes}";
        return BinaryPrimitives.ReadUInt128LittleEndian(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
    }
}
