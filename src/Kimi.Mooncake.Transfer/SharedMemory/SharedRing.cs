using System.Runtime.Versioning;
using Microsoft.Win32.SafeHandles;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// A ring of frames in one direction and a ring of answers in the other, in memory that sender and receiver have
/// mapped.
/// Positions only grow; each is written by one side. Nothing that the other side writes is believed unchecked.
/// </summary>
/// <remarks>
/// Page 0: magic, ring length, nonce, then the positions and the two flags of who sleeps, each in a cache line of its
/// own. Then <see cref="RepliesMax"/> answers of 32 bytes, then the ring. A record is a header of 64 bytes and the
/// payload, filled up to 64.
/// </remarks>
[SupportedOSPlatform("linux")]
internal sealed unsafe class SharedRing : IDisposable
{
    /// <summary>Answers that the ring of answers holds, and so the most frames without one.</summary>
    public const int RepliesMax = 4096;

    public const int NonceBytes = 16;

    private const ulong Magic = 0x31_65_6B_61_63_6E_6F_6D;
    private const int PageBytes = 4096;
    private const int ReplyBytes = 32;
    private const int RecordHeaderBytes = 64;
    private const int RingAt = PageBytes + (RepliesMax * ReplyBytes);

    private const int RingBytesAt = 8;
    private const int NonceAt = 16;
    private const int HeadAt = 128;
    private const int TailAt = 256;
    private const int ReplyHeadAt = 384;
    private const int ReplyTailAt = 512;
    private const int ReceiverSleepsAt = 640;
    private const int SenderSleepsAt = 768;

    private readonly long _ringBytes;
    private byte* _page;
    private byte* _ring;

    private SharedRing(SafeFileHandle memory, long ringBytes)
    {
        _ringBytes = ringBytes;
        _page = LinuxMemory.Map(memory, 0, RingAt);
        try
        {
            _ring = LinuxMemory.MapTwice(memory, RingAt, ringBytes);
        }
        catch
        {
            LinuxMemory.Unmap(_page, RingAt);
            throw;
        }
    }

    private ref long Head => ref *(long*)(_page + HeadAt);

    private ref long Tail => ref *(long*)(_page + TailAt);

    private ref long ReplyHead => ref *(long*)(_page + ReplyHeadAt);

    private ref long ReplyTail => ref *(long*)(_page + ReplyTailAt);

    private ref int ReceiverSleeps => ref *(int*)(_page + ReceiverSleepsAt);

    private ref int SenderSleeps => ref *(int*)(_page + SenderSleepsAt);

    /// <summary>Bytes of a ring that holds at least two of the largest frames.</summary>
    public static long RingBytes(TransferOptions options)
    {
        var least = Math.Max(options.SharedMemoryBytes, 2 * RecordBytes(options.FrameBytes));
        return (least + PageBytes - 1) / PageBytes * PageBytes;
    }

    /// <summary>The sender makes the memory.</summary>
    public static SharedRing Create(long ringBytes, ReadOnlySpan<byte> nonce, out SafeFileHandle memory)
    {
        memory = LinuxMemory.Create("mooncake-transfer", RingAt + ringBytes);
        try
        {
            var ring = new SharedRing(memory, ringBytes);
            *(ulong*)ring._page = Magic;
            *(long*)(ring._page + RingBytesAt) = ringBytes;
            nonce.CopyTo(new Span<byte>(ring._page + NonceAt, NonceBytes));
            return ring;
        }
        catch
        {
            memory.Dispose();
            throw;
        }
    }

    /// <summary>The receiver opens it.</summary>
    /// <exception cref="InvalidDataException">It is something else than the sender said.</exception>
    public static SharedRing Open(SafeFileHandle memory, long ringBytes, ReadOnlySpan<byte> nonce)
    {
        if (ringBytes <= 0 || ringBytes % PageBytes != 0 || RandomAccess.GetLength(memory) != RingAt + ringBytes
            || !LinuxMemory.CannotShrink(memory))
        {
            throw new InvalidDataException($"is no sealed memory with a ring of {ringBytes} bytes");
        }

        var ring = new SharedRing(memory, ringBytes);
        if (*(ulong*)ring._page == Magic && *(long*)(ring._page + RingBytesAt) == ringBytes
            && new ReadOnlySpan<byte>(ring._page + NonceAt, NonceBytes).SequenceEqual(nonce))
        {
            return ring;
        }

        ring.Dispose();
        throw new InvalidDataException("is the memory of another sender");
    }

    /// <summary>Sender: whether a frame fits now.</summary>
    public bool HasRoom(int bytes) => _ringBytes - (Head - Volatile.Read(ref Tail)) >= RecordBytes(bytes);

    /// <summary>Sender: writes a frame that fits.</summary>
    /// <returns>Whether the receiver sleeps and must be woken.</returns>
    public bool Write(in FrameHeader header, ReadOnlySpan<byte> payload, bool isDamaged)
    {
        var head = Head;
        var record = _ring + (head % _ringBytes);
        var body = new Span<byte>(record + RecordHeaderBytes, payload.Length);
        var checksum = Core.Crc32C.Finish(Core.Crc32C.Copy(Core.Crc32C.Start, payload, body));
        if (isDamaged)
        {
            body[payload.Length / 2] ^= 1;
        }

        *(FrameHeader*)record = header with { Checksum = checksum };
        Volatile.Write(ref Head, head + RecordBytes(payload.Length));
        return Wakes(ref ReceiverSleeps);
    }

    /// <summary>Receiver: looks at the next frame; it stays in the ring until <see cref="Release"/>.</summary>
    /// <exception cref="InvalidDataException">The sender wrote something else than frames.</exception>
    public bool TryRead(out FrameHeader header, out ReadOnlySpan<byte> payload)
    {
        var tail = Tail;
        var available = Volatile.Read(ref Head) - tail;
        header = default;
        payload = default;
        if (available == 0)
        {
            return false;
        }

        var record = _ring + (tail % _ringBytes);
        header = *(FrameHeader*)record;
        if (available < RecordHeaderBytes || available > _ringBytes || header.Bytes < 0
            || RecordBytes(header.Bytes) > available)
        {
            throw new InvalidDataException("the sender's ring holds no frame where one should be");
        }

        payload = new ReadOnlySpan<byte>(record + RecordHeaderBytes, header.Bytes);
        return true;
    }

    /// <summary>Receiver: gives the frame's place back, and answers it.</summary>
    /// <returns>Whether the sender sleeps and must be woken.</returns>
    /// <exception cref="InvalidDataException">The sender does not take its answers.</exception>
    public bool Release(in FrameHeader header, FrameOutcome outcome)
    {
        var replyHead = ReplyHead;
        if (replyHead - Volatile.Read(ref ReplyTail) >= RepliesMax)
        {
            throw new InvalidDataException("the sender takes more frames than answers");
        }

        var reply = _page + PageBytes + (replyHead % RepliesMax * ReplyBytes);
        *(FrameReply*)reply = new FrameReply(header.Target, header.Sequence, outcome, 0);
        Volatile.Write(ref Tail, Tail + RecordBytes(header.Bytes));
        Volatile.Write(ref ReplyHead, replyHead + 1);
        return Wakes(ref SenderSleeps);
    }

    /// <summary>Sender: takes the next answer.</summary>
    public bool TryReadReply(out FrameReply reply)
    {
        var replyTail = ReplyTail;
        reply = default;
        if (Volatile.Read(ref ReplyHead) == replyTail)
        {
            return false;
        }

        reply = *(FrameReply*)(_page + PageBytes + (replyTail % RepliesMax * ReplyBytes));
        Volatile.Write(ref ReplyTail, replyTail + 1);
        return true;
    }

    /// <summary>Receiver: says that it sleeps.</summary>
    /// <returns>Whether there is still nothing to do; then it may.</returns>
    public bool ReceiverMaySleep()
    {
        Interlocked.Exchange(ref ReceiverSleeps, 1);
        return Volatile.Read(ref Head) == Tail;
    }

    /// <summary>Sender: says that it sleeps until there is an answer.</summary>
    /// <returns>Whether there is still none; then it may.</returns>
    public bool SenderMaySleep()
    {
        Interlocked.Exchange(ref SenderSleeps, 1);
        return Volatile.Read(ref ReplyHead) == ReplyTail;
    }

    public void Dispose()
    {
        if (_page is not null)
        {
            LinuxMemory.Unmap(_ring, 2 * _ringBytes);
            LinuxMemory.Unmap(_page, RingAt);
            _page = null;
            _ring = null;
        }
    }

    private static long RecordBytes(int payloadBytes) =>
        RecordHeaderBytes + (((long)payloadBytes + RecordHeaderBytes - 1) & -RecordHeaderBytes);

    // The position must be visible before the flag is read; an exchange is also a barrier.
    private static bool Wakes(ref int sleeps)
    {
        Interlocked.MemoryBarrier();
        return Volatile.Read(ref sleeps) != 0 && Interlocked.Exchange(ref sleeps, 0) != 0;
    }
}
