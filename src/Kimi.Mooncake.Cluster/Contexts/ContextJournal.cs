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
internal sealed partial class ContextJournal : IDisposable
{
    public const int Version = 1;
    public const string FileName = "contexts.journal";

    private const string NewSuffix = ".new";
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

    /// <summary>Whether records were passed over, so that the file should be written anew.</summary>
    public bool HasGaps { get; private set; }

    /// <summary>
    /// Opens or creates the file and reads it. Damaged records are passed over where the next one is whole, and from
    /// where it is not, the rest is cut off; what was there before is kept beside it.
    /// </summary>
    /// <param name="directory">The folder, which the caller has locked.</param>
    /// <param name="apply">Takes each entry, and whether entries before it are missing.</param>
    /// <param name="now">Distinguishes the files of what was cut off.</param>
    /// <param name="logger">Is told of damage.</param>
    /// <exception cref="ContextCatalogException">The file is of another kind or version, or cannot be read.</exception>
    public static ContextJournal Open(
        string directory, Action<Wire.ContextJournalEntry, bool> apply, DateTimeOffset now, ILogger logger)
    {
        var path = Path.Combine(directory, FileName);
        FileStream? file = null;
        try
        {
            // What a process left that ended while it wrote the file anew.
            RemoveUnfinished(path + NewSuffix);
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
        var path = _path + NewSuffix;
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
            // Appends need the room that it takes.
            file?.Dispose();
            throw new ContextCatalogException(
                $"contexts journal {path} cannot be written: {fault.Message}{TryRemoveUnfinished(path)}", fault);
        }

        // The next append waits for the drive, and with it for the new name of the file.
        _file.Dispose();
        _file = file;
        Bytes = file.Position;
        HasGaps = false;
    }

    public void Dispose() => _file.Dispose();

    // Without a buffer: what could not be written must not be written later.
    private static FileStream OpenFile(string path, FileMode mode) =>
        new(path, mode, FileAccess.ReadWrite, FileShare.Read | FileShare.Delete, bufferSize: 0);

    /// <summary>What to add to a message: nothing once the file is gone.</summary>
    private static string TryRemoveUnfinished(string path)
    {
        try
        {
            RemoveUnfinished(path);
            return "";
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return $"; nor can it be removed: {fault.Message}";
        }
    }

    private static void RemoveUnfinished(string path)
    {
        if (File.Exists(path))
        {
            File.Delete(path);
        }
    }

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
