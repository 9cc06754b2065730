using System.Buffers;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Transfer;

/// <summary>The open reservations of a process, and the one place where frames are written into them.</summary>
internal sealed class ReservationTable(TransferCounters counters)
{
    private readonly ConcurrentDictionary<ulong, Reservation> _open = new();

    // Ids of a process that was started again must not meet those of the one before.
    private ulong _lastId = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong)));
    private int _lastGeneration = BitConverter.ToInt32(RandomNumberGenerator.GetBytes(sizeof(int)));

    public int Count => _open.Count;

    public Reservation Add(ReadOnlySpan<nint> slots, int slotBytes)
    {
        var id = new ReservationId(
            Interlocked.Increment(ref _lastId), (uint)Interlocked.Increment(ref _lastGeneration));
        var reservation = new Reservation(this, id, slots, slotBytes);
        _open[id.Id] = reservation;
        return reservation;
    }

    public void Remove(Reservation reservation) => _open.TryRemove(new(reservation.Id.Id, reservation));

    /// <summary>Closes all of them.</summary>
    public void Close()
    {
        foreach (var reservation in _open.Values)
        {
            reservation.Dispose();
        }
    }

    /// <summary>Checks a frame, and copies it to where it belongs.</summary>
    public FrameOutcome Write(TransferTransport transport, in FrameHeader header, in ReadOnlySequence<byte> payload)
    {
        var outcome = Begin(header, out var reservation, out var destination);
        if (destination != 0)
        {
            var state = Crc32C.Start;
            foreach (var segment in payload)
            {
                state = Copy(state, segment.Span, ref destination);
            }

            outcome = reservation!.EndWrite(header, Crc32C.Finish(state));
        }

        counters.FrameReceived(transport, outcome, header.Bytes);
        return outcome;
    }

    /// <summary>Checks a frame, and copies it to where it belongs. The payload may change meanwhile.</summary>
    public FrameOutcome Write(TransferTransport transport, in FrameHeader header, ReadOnlySpan<byte> payload)
    {
        var outcome = Begin(header, out var reservation, out var destination);
        if (destination != 0)
        {
            outcome = reservation!.EndWrite(header, Crc32C.Finish(Copy(Crc32C.Start, payload, ref destination)));
        }

        counters.FrameReceived(transport, outcome, header.Bytes);
        return outcome;
    }

    private FrameOutcome Begin(in FrameHeader header, out Reservation? reservation, out nint destination)
    {
        destination = 0;
        return _open.TryGetValue(header.Target.Id, out reservation)
            ? reservation.BeginWrite(header, out destination)
            : FrameOutcome.Stale;
    }

    private static unsafe uint Copy(uint state, ReadOnlySpan<byte> source, ref nint destination)
    {
        state = Crc32C.Copy(state, source, new Span<byte>((void*)destination, source.Length));
        destination += source.Length;
        return state;
    }
}
