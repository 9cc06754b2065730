using System.Buffers;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Store;

/// <summary>What came of reading a record.</summary>
internal enum RecordRead
{
    /// <summary>The bytes are those that were put.</summary>
    Intact,

    /// <summary>They are not, or the file ends early or is gone.</summary>
    Damaged,

    /// <summary>The disk failed.</summary>
    DiskFailed,
}

/// <summary>Reads records from segment files and checks them. Any thread may call.</summary>
internal sealed class RecordReader(RecordFormat format, RecordReader.Source source)
{
    // Read in steps that are still in the processor's cache when they are checked.
    private const int StepBytes = 4 << 20;

    /// <summary>Fills a span from the log; false when the file is gone or ends early.</summary>
    /// <exception cref="IOException">The disk fails.</exception>
    public delegate bool Source(long address, Span<byte> destination);

    /// <summary>Reads layers of a block.</summary>
    /// <param name="address">Where its record begins.</param>
    /// <param name="key">Its key.</param>
    /// <param name="firstLayer">The first layer.</param>
    /// <param name="destination">Whole layers; holds rubbish when the result is not intact.</param>
    public RecordRead Read(long address, in BlockKey key, int firstLayer, Span<byte> destination)
    {
        var header = ArrayPool<byte>.Shared.Rent(format.HeaderBytes);
        try
        {
            return Read(address, key, firstLayer, destination, header.AsSpan(0, format.HeaderBytes));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException
            or ObjectDisposedException)
        {
            return RecordRead.DiskFailed;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(header);
        }
    }

    /// <summary>Reads a record as it lies on disk.</summary>
    /// <param name="address">Where it begins.</param>
    /// <param name="key">Its key.</param>
    /// <param name="header">Filled with its header.</param>
    /// <param name="stored">Room for a whole block; filled with the payload as it is stored.</param>
    /// <param name="storedBytes">Bytes of that.</param>
    public RecordRead ReadRaw(
        long address, in BlockKey key, Span<byte> header, Span<byte> stored, out int storedBytes)
    {
        storedBytes = 0;
        try
        {
            if (!TryReadHeader(address, header) || BlockRecord.Key(header) != key)
            {
                return RecordRead.Damaged;
            }

            storedBytes = BlockRecord.StoredBytes(header);
            var at = address + StoreGeometry.LogEntryHeaderBytes + header.Length;
            return Plain(header)
                ? ReadLayers(at, 0, stored[..storedBytes], header)
                : ReadStored(at, stored[..storedBytes], header);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException
            or ObjectDisposedException)
        {
            return RecordRead.DiskFailed;
        }
    }

    /// <summary>Reads and checks a header.</summary>
    /// <exception cref="IOException">The disk fails.</exception>
    public bool TryReadHeader(long address, Span<byte> header) =>
        source(address + StoreGeometry.LogEntryHeaderBytes, header) && BlockRecord.IsIntact(header, format);

    private bool Plain(ReadOnlySpan<byte> header) => BlockRecord.EncodingOf(header) == BlockEncoding.Plain &&
        BlockRecord.StoredBytes(header) == format.PayloadBytes;

    private RecordRead Read(
        long address, in BlockKey key, int firstLayer, Span<byte> destination, Span<byte> header)
    {
        if (!TryReadHeader(address, header) || BlockRecord.Key(header) != key)
        {
            return RecordRead.Damaged;
        }

        var at = address + StoreGeometry.LogEntryHeaderBytes + header.Length;
        return Plain(header)
            ? ReadLayers(at + ((long)firstLayer * format.LayerBytes), firstLayer, destination, header)
            : Unpack(at, firstLayer, destination, header);
    }

    private RecordRead ReadLayers(long at, int firstLayer, Span<byte> destination, ReadOnlySpan<byte> header)
    {
        // Small layers are read together, large ones in parts.
        var checkedTo = 0;
        var state = Crc32C.Start;
        for (var readTo = 0; readTo < destination.Length;)
        {
            var length = Math.Min(StepBytes, destination.Length - readTo);
            if (!source(at + readTo, destination.Slice(readTo, length)))
            {
                return RecordRead.Damaged;
            }

            readTo += length;
            while (checkedTo < readTo)
            {
                var layer = checkedTo / format.LayerBytes;
                var end = Math.Min(readTo, (layer + 1) * format.LayerBytes);
                state = Crc32C.Append(state, destination[checkedTo..end]);
                checkedTo = end;
                if (end == (layer + 1) * format.LayerBytes)
                {
                    if (Crc32C.Finish(state) != BlockRecord.LayerChecksum(header, firstLayer + layer))
                    {
                        return RecordRead.Damaged;
                    }

                    state = Crc32C.Start;
                }
            }
        }

        return RecordRead.Intact;
    }

    private RecordRead ReadStored(long at, Span<byte> stored, ReadOnlySpan<byte> header) =>
        source(at, stored) &&
        Crc32C.Finish(Crc32C.Append(Crc32C.Start, stored)) == BlockRecord.StoredChecksum(header)
            ? RecordRead.Intact
            : RecordRead.Damaged;

    private RecordRead Unpack(long at, int firstLayer, Span<byte> destination, ReadOnlySpan<byte> header)
    {
        var stored = ArrayPool<byte>.Shared.Rent(BlockRecord.StoredBytes(header));
        var block = ArrayPool<byte>.Shared.Rent(format.PayloadBytes);
        try
        {
            var bytes = stored.AsSpan(0, BlockRecord.StoredBytes(header));
            var payload = block.AsSpan(0, format.PayloadBytes);
            if (ReadStored(at, bytes, header) != RecordRead.Intact || !BlockCompressor.TryUnpack(bytes, payload))
            {
                return RecordRead.Damaged;
            }

            payload.Slice(firstLayer * format.LayerBytes, destination.Length).CopyTo(destination);
            for (var layer = 0; layer < destination.Length / format.LayerBytes; layer++)
            {
                var part = destination.Slice(layer * format.LayerBytes, format.LayerBytes);
                if (Crc32C.Finish(Crc32C.Append(Crc32C.Start, part)) !=
                    BlockRecord.LayerChecksum(header, firstLayer + layer))
                {
                    return RecordRead.Damaged;
                }
            }

            return RecordRead.Intact;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(stored);
            ArrayPool<byte>.Shared.Return(block);
        }
    }
}
