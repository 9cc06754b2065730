namespace Kimi.Mooncake.Transfer;

/// <summary>
/// Memory of this process that other processes may write to, in slots of one size. Made by
/// <see cref="TransferEngine.Reserve"/>; the memory is the caller's and must stay valid until <see cref="Dispose"/> has
/// returned.
/// </summary>
public sealed class Reservation : IDisposable
{
    // A sender that numbers frames beyond this is answered OUT_OF_RANGE; the marks of seen frames take 2 MiB then.
    private const uint SequenceMax = (1 << 24) - 1;
    private const int MarksAtStart = 16;

    private readonly object _gate = new();
    private readonly ReservationTable _table;
    private readonly nint[] _slots;
    private readonly int _slotBytes;
    private ulong[] _seen = new ulong[MarksAtStart];
    private long _bytesWritten;
    private int _writers;
    private bool _isClosed;

    internal Reservation(ReservationTable table, ReservationId id, ReadOnlySpan<nint> slots, int slotBytes)
    {
        _table = table;
        _slots = slots.ToArray();
        _slotBytes = slotBytes;
        Id = id;
    }

    /// <summary>What a sender needs to know.</summary>
    public ReservationId Id { get; }

    /// <summary>Payload that has been checked and written; a frame that came more than once counts once.</summary>
    public long BytesWritten => Interlocked.Read(ref _bytesWritten);

    /// <summary>
    /// Closes the reservation. When it returns nothing writes to the memory any more, and nothing will: later frames are
    /// answered as stale. Waits at most for the frames that are being copied now.
    /// </summary>
    public void Dispose()
    {
        _table.Remove(this);
        lock (_gate)
        {
            _isClosed = true;
            while (_writers > 0)
            {
                Monitor.Wait(_gate);
            }
        }
    }

    /// <summary>Begins to write a frame; after <see cref="FrameOutcome.Written"/> the caller ends it.</summary>
    internal FrameOutcome BeginWrite(in FrameHeader header, out nint destination)
    {
        destination = 0;
        if (header.Target != Id)
        {
            return FrameOutcome.Stale;
        }

        if (header.Slot >= _slots.Length || header.Sequence > SequenceMax
            || (long)header.Offset + header.Bytes > _slotBytes)
        {
            return FrameOutcome.OutOfRange;
        }

        lock (_gate)
        {
            if (_isClosed)
            {
                return FrameOutcome.Stale;
            }

            _writers++;
        }

        destination = _slots[header.Slot] + (nint)header.Offset;
        return FrameOutcome.Written;
    }

    internal FrameOutcome EndWrite(in FrameHeader header, uint checksum)
    {
        var isIntact = checksum == header.Checksum;
        lock (_gate)
        {
            if (isIntact && Mark(header.Sequence))
            {
                _bytesWritten += header.Bytes;
            }

            if (--_writers == 0 && _isClosed)
            {
                Monitor.PulseAll(_gate);
            }
        }

        return isIntact ? FrameOutcome.Written : FrameOutcome.Corrupt;
    }

    private bool Mark(uint sequence)
    {
        var word = (int)(sequence / 64);
        if (word >= _seen.Length)
        {
            Array.Resize(ref _seen, Math.Max(word + 1, 2 * _seen.Length));
        }

        var mark = 1UL << (int)(sequence % 64);
        var isNew = (_seen[word] & mark) == 0;
        _seen[word] |= mark;
        return isNew;
    }
}
