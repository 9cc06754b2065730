using System.Buffers.Binary;
using System.Numerics;
using Google.Protobuf;
using Microsoft.Extensions.Logging;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster.Contexts;

/// <summary>
/// The file of the contexts: a header, then records of length, checksum and a <see cref="Wire.ContextJournalEntry"/>. A
/// record is on the drive before its append returns. One thread at a time.
/// </summary>
/// <remarks>
/// Header, 16 bytes: <c>mooncctx</c>, version as a 32-bit number, CRC-32C of the 12 bytes before. A record: length of
/// the entry, CRC-32C of length and entry, entry. All numbers are little-endian.
/// </remarks>
internal sealed class ContextJournal : IDisposable
{
    public const int Version = 1;
    public const string FileName = "contexts.journal";

    private const int HeaderBytes = 16;
    private const int RecordHeaderBytes = 8;
    private const int EntryBytesMax = 1 << 30;

    private readonly string _path;
    private readonly ILogger _logger;
    private FileStream _file;
    private bool _isBroken;

    private ContextJournal(string path, FileStream file, ILogger logger)
    {
        _path = path;
        _file = file;
        _logger = logger;
    }

    /// <summary>Bytes of the file.</summary>
    public long Bytes { get; private set; }

    /// <summary>Opens or creates the file and reads it. A damaged end is cut off, and kept beside it.</summary>
    /// <param name="directory">The folder, which the caller has locked.</param>
    /// <param name="apply">Takes each entry.</param>
    /// <param name="now">Distinguishes the files of what was cut off.</param>
    /// <param name="logger">Is told of damage.</param>
    /// <exception cref="ContextCatalogException">The file is of another kind or version, or cannot be read.</exception>
    public static ContextJournal Open(
        string directory, Action<Wire.ContextJournalEntry> apply, DateTimeOffset now, ILogger logger)
    {
        var path = Path.Combine(directory, FileName);
        FileStream? file = null;
        try
        {
            file = OpenFile(path, FileMode.OpenOrCreate);
            var journal = new ContextJournal(path, file, logger);
            journal.Read(apply, now);
            return journal;
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            file?.Dispose();
            throw new ContextCatalogException($"contexts journal {path} cannot be read: {fault.Message}", fault);
        }
        catch (ContextCatalogException)
        {
            file?.Dispose();
            throw;
        }
    }

    /// <summary>Writes an entry and waits until it is on the drive.</summary>
    /// <exception cref="ContextCatalogException">It could not be written; the file is as before.</exception>
    public void Append(Wire.ContextJournalEntry entry)
    {
        if (_isBroken)
        {
            throw new ContextCatalogException(
                $"contexts journal {_path} could not be written earlier; the process must be started again");
        }

        try
        {
            Write(_file, entry);
            _file.Flush(flushToDisk: true);
            Bytes = _file.Position;
        }
        catch (Exception fault)
        {
            // Whatever the system calls it: no part of the record may stay.
            TakeBack();
            throw new ContextCatalogException($"contexts journal {_path} cannot be written: {fault.Message}", fault);
        }
    }

    /// <summary>Writes the file anew; it is the old one or the new one whenever the process ends.</summary>
    /// <param name="changes">What it is to say.</param>
    /// <exception cref="ContextCatalogException">It could not be written; the old one is still in use.</exception>
    public void Rewrite(IEnumerable<Wire.ContextChange> changes)
    {
        var path = _path + ".new";
        FileStream? file = null;
        try
        {
            file = OpenFile(path, FileMode.Create);
            file.Write(Header());
            foreach (var change in changes)
            {
                Write(file, new Wire.ContextJournalEntry { Changes = { change } });
            }

            file.Flush(flushToDisk: true);
            File.Move(path, _path, overwrite: true);
        }
        catch (Exception fault)
        {
            // What is left of it is written over by the next one.
            file?.Dispose();
            throw new ContextCatalogException($"contexts journal {path} cannot be written: {fault.Message}", fault);
        }

        // The next append waits for the drive, and with it for the new name of the file.
        _file.Dispose();
        _file = file;
        Bytes = file.Position;
    }

    public void Dispose() => _file.Dispose();

    // Without a buffer: what could not be written must not be written later.
    private static FileStream OpenFile(string path, FileMode mode) =>
        new(path, mode, FileAccess.ReadWrite, FileShare.Read | FileShare.Delete, bufferSize: 0);

    private static void Write(FileStream file, Wire.ContextJournalEntry entry)
    {
        var length = entry.CalculateSize();
        var record = new byte[RecordHeaderBytes + length];
        BinaryPrimitives.WriteInt32LittleEndian(record, length);
        entry.WriteTo(record.AsSpan(RecordHeaderBytes));
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(4), ChecksumOf(record));
        file.Write(record);
    }

    private static uint ChecksumOf(ReadOnlySpan<byte> record) =>
        Crc(Crc(uint.MaxValue, record[..4]), record[RecordHeaderBytes..]) ^ uint.MaxValue;

    private static uint Crc(uint crc, ReadOnlySpan<byte> bytes)
    {
        for (; bytes.Length >= sizeof(ulong); bytes = bytes[sizeof(ulong)..])
        {
            crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
        }

        foreach (var value in bytes)
        {
            crc = BitOperations.Crc32C(crc, value);
        }

        return crc;
    }

    private static byte[] Header()
    {
        var header = new byte[HeaderBytes];
        "mooncctx"u8.CopyTo(header);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(8), Version);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(12), Crc(uint.MaxValue, header.AsSpan(0, 12)));
        return header;
    }

    private void Read(Action<Wire.ContextJournalEntry> apply, DateTimeOffset now)
    {
        if (!ReadHeader())
        {
            _file.SetLength(0);
            _file.Write(Header());
            _file.Flush(flushToDisk: true);
            Bytes = HeaderBytes;
            return;
        }

        Bytes = HeaderBytes;
        while (ReadEntry() is { } entry)
        {
            try
            {
                apply(entry);
            }
            catch (InvalidDataException fault)
            {
                throw new ContextCatalogException(
                    $"contexts journal {_path}, record at {Bytes}: {fault.Message}", fault);
            }

            Bytes = _file.Position;
        }

        if (Bytes < _file.Length)
        {
            CutOff(now);
        }

        _file.Position = Bytes;
    }

    /// <summary>False for a file that was not yet begun.</summary>
    private bool ReadHeader()
    {
        var expected = Header();
        Span<byte> found = stackalloc byte[HeaderBytes];
        var read = _file.ReadAtLeast(found, HeaderBytes, throwOnEndOfStream: false);
        if (read < HeaderBytes && found[..read].SequenceEqual(expected.AsSpan(0, read)))
        {
            return false;
        }

        if (read < HeaderBytes || !found[..8].SequenceEqual(expected.AsSpan(0, 8)))
        {
            throw new ContextCatalogException(
                $"contexts journal {_path}: it does not begin with 'mooncctx'; expected a journal of contexts");
        }

        if (BinaryPrimitives.ReadUInt32LittleEndian(found[12..]) != Crc(uint.MaxValue, found[..12]))
        {
            throw new ContextCatalogException(
                $"contexts journal {_path}: the checksum of the header at offset 12 is wrong");
        }

        var version = BinaryPrimitives.ReadInt32LittleEndian(found[8..]);
        return version == Version
            ? true
            : throw new ContextCatalogException(
                $"contexts journal {_path}: format version {version} at offset 8; expected {Version}");
    }

    /// <summary>Null at the end, and where what follows is not whole.</summary>
    private Wire.ContextJournalEntry? ReadEntry()
    {
        Span<byte> head = stackalloc byte[RecordHeaderBytes];
        if (_file.ReadAtLeast(head, head.Length, throwOnEndOfStream: false) < head.Length)
        {
            return null;
        }

        var length = BinaryPrimitives.ReadInt32LittleEndian(head);
        if (length < 0 || length > EntryBytesMax || length > _file.Length - _file.Position)
        {
            return null;
        }

        var record = new byte[RecordHeaderBytes + length];
        head.CopyTo(record);
        _file.ReadExactly(record, RecordHeaderBytes, length);
        if (BinaryPrimitives.ReadUInt32LittleEndian(head[4..]) != ChecksumOf(record))
        {
            return null;
        }

        try
        {
            return Wire.ContextJournalEntry.Parser.ParseFrom(record, RecordHeaderBytes, length);
        }
        catch (InvalidProtocolBufferException fault)
        {
            throw new ContextCatalogException($"contexts journal {_path}, record at {Bytes}: {fault.Message}", fault);
        }
    }

    private void CutOff(DateTimeOffset now)
    {
        var kept = $"{_path}.damaged-{now.ToUnixTimeMilliseconds()}";
        _file.Position = Bytes;
        using (var copy = new FileStream(kept, FileMode.Create, FileAccess.Write))
        {
            _file.CopyTo(copy);
            copy.Flush(flushToDisk: true);
        }

        ContextLog.Damaged(_logger, _path, Bytes, _file.Length - Bytes, kept);
        _file.SetLength(Bytes);
        _file.Flush(flushToDisk: true);
    }

    /// <summary>Leaves no part of a record behind; where even that fails, nothing is appended to it any more.</summary>
    private void TakeBack()
    {
        try
        {
            _file.SetLength(Bytes);
            _file.Position = Bytes;
        }
        catch (Exception fault)
        {
            _isBroken = true;
            ContextLog.Broken(_logger, _path, fault.Message);
        }
    }
}
