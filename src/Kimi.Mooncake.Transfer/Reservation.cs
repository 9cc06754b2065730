namespace Kimi.Mooncake.Transfer;

/// <summary>
/// Memory of this process that other processes may write to, in slots of one size. Made by
/// <see cref="TransferEngine.Reserve"/>; the memory is the caller's and must stay valid until <see cref="Dispose"/> has
/// returned. It takes the frames of one transfer; to try again, reserve again.
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
    private readonly List<uint> _writing = [];
    private ulong[] _seen = new ulong[MarksAtStart];
    private long _bytesWritten;
    private uint? _transfer;
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
    /// Closes the reservation. When it returns nothing writes to the memory any more, and nothing will: later frames
    /// are
    /// answered as stale. Waits at most for the frames that are being copied now.
    /// </summary>
    public void Dispose()
    {
        _table.Remove(this);
        lock (_gate)
        {
            _isClosed = true;
            while (_writing.Count > 0)
            {
                Monitor.Wait(_gate);
            }
        }
    }

    /// <summary>Begins to write a frame.</summary>
    /// <param name="header">The frame.</param>
    /// <param name="destination">
    /// Where to write it, and then call <see cref="EndWrite"/>; 0 if there is nothing to write, as for a frame that has
    /// been written already: a second copy could be a damaged one.
    /// </param>
    internal FrameOutcome BeginWrite(in FrameHeader header, out nint destination)
    {
        destination = 0;
        if (header.Target != Id)
        {
            return FrameOutcome.Stale;
        }

        if (header.Slot >= _slots.Length || _slots[header.Slot] == 0 || header.Sequence > SequenceMax
            || (long)header.Offset + header.Bytes > _slotBytes)
        {
            return FrameOutcome.OutOfRange;
        }

        lock (_gate)
        {
            // A copy of the frame that comes over another connection waits until it is known how this one ends.
            while (_writing.Contains(header.Sequence))
            {
                Monitor.Wait(_gate);
            }

            if (_isClosed || (_transfer ??= header.Transfer) != header.Transfer)
            {
                return FrameOutcome.Stale;
            }

            if (IsMarked(header.Sequence))
            {
                return FrameOutcome.Written;
            }

            _writing.Add(header.Sequence);
        }

        destination = _slots[header.Slot] + (nint)header.Offset;
        return FrameOutcome.Written;
    }

    internal FrameOutcome EndWrite(in FrameHeader header, uint checksum)
    {
        var isIntact = checksum == header.Checksum;
        lock (_gate)
        {
            if (isIntact)
            {
                Mark(header.Sequence);
                _bytesWritten += header.Bytes;
            }

            _writing.Remove(header.Sequence);
            Monitor.PulseAll(_gate);
        }

        return isIntact ? FrameOutcome.Written : FrameOutcome.Corrupt;
    }

    private bool IsMarked(uint sequence)
    {
        var word = (int)(sequence / 64);
        return word < _seen.Length && (_seen[word] >> (int)(sequence % 64) & 1) != 0;
    }

    private void Mark(uint sequence)
    {
        var word = (int)(sequence / 64);
        if (word >= _seen.Length)
        {
            Array.Resize(ref _seen, Math.Max(word + 1, 2 * _seen.Length));
        }

        _seen[word] |= 1UL << (int)(sequence % 64);
    }
}
