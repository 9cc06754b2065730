using System.Buffers.Binary;
using Google.Protobuf;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster.Contexts;

/// <summary>How the file is read, and what is done about damage.</summary>
internal sealed partial class ContextJournal
{
    private void Read(Action<Wire.ContextJournalEntry, bool> apply, DateTimeOffset now)
    {
        if (!ReadHeader())
        {
            _file.SetLength(0);
            _file.Write(Header());
            _file.Flush(flushToDisk: true);
            Bytes = HeaderBytes;
            return;
        }

        var damage = new List<(long Offset, long Bytes)>();
        Bytes = HeaderBytes;
        while (Bytes < _file.Length)
        {
            var (entry, end) = ReadRecord(Bytes);
            if (entry is not null)
            {
                Apply(apply, entry, damage.Count > 0);
            }
            else if (end < _file.Length && ReadRecord(end).Entry is not null)
            {
                damage.Add((Bytes, end - Bytes));
            }
            else
            {
                break;
            }

            Bytes = end;
        }

        HasGaps = damage.Count > 0;
        if (Bytes < _file.Length)
        {
            damage.Add((Bytes, _file.Length - Bytes));
        }

        if (damage.Count > 0)
        {
            KeepAndCutOff(damage, now);
        }

        _file.Position = Bytes;
    }

    private void Apply(
        Action<Wire.ContextJournalEntry, bool> apply, Wire.ContextJournalEntry entry, bool areSomeMissing)
    {
        try
        {
            apply(entry, areSomeMissing);
        }
        catch (InvalidDataException fault)
        {
            throw new ContextCatalogException($"contexts journal {_path}, record at {Bytes}: {fault.Message}", fault);
        }
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

    /// <summary>A record, null where it is not whole, and its end, beyond the file where nobody knows it.</summary>
    /// <remarks>
    /// Nothing but a damaged record's own length says where the next one begins. Other offsets are not searched: texts
    /// that users chose stand in the file, and one might be made to look like a record.
    /// </remarks>
    private (Wire.ContextJournalEntry? Entry, long End) ReadRecord(long offset)
    {
        _file.Position = offset;
        Span<byte> head = stackalloc byte[RecordHeaderBytes];
        if (_file.ReadAtLeast(head, head.Length, throwOnEndOfStream: false) < head.Length)
        {
            return (null, long.MaxValue);
        }

        var length = BinaryPrimitives.ReadInt32LittleEndian(head);
        if (length < 0 || length > EntryBytesMax || length > _file.Length - _file.Position)
        {
            return (null, long.MaxValue);
        }

        var record = new byte[RecordHeaderBytes + length];
        head.CopyTo(record);
        _file.ReadExactly(record, RecordHeaderBytes, length);
        var end = _file.Position;
        if (BinaryPrimitives.ReadUInt32LittleEndian(head[4..]) != ChecksumOf(record))
        {
            return (null, end);
        }

        try
        {
            return (Wire.ContextJournalEntry.Parser.ParseFrom(record, RecordHeaderBytes, length), end);
        }
        catch (InvalidProtocolBufferException fault)
        {
            throw new ContextCatalogException($"contexts journal {_path}, record at {offset}: {fault.Message}", fault);
        }
    }

    /// <summary>Copies the file from the first damage on, and cuts off what is behind the last whole record.</summary>
    private void KeepAndCutOff(List<(long Offset, long Bytes)> damage, DateTimeOffset now)
    {
        var kept = $"{_path}.damaged-{now.ToUnixTimeMilliseconds()}";
        _file.Position = damage[0].Offset;
        using (var copy = new FileStream(kept, FileMode.Create, FileAccess.Write))
        {
            _file.CopyTo(copy);
            copy.Flush(flushToDisk: true);
        }

        foreach (var (offset, bytes) in damage)
        {
            ContextLog.Damaged(_logger, _path, offset, bytes, kept);
        }

        _file.SetLength(Bytes);
        _file.Flush(flushToDisk: true);
    }
}
