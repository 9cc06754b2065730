using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Transfer.Tests;

/// <summary>Which frame goes next, and how many at once, without a connection.</summary>
public sealed class FrameOrderTests
{
    private const int FrameBytes = 16 << 10;
    private const int WarmUp = 2_000;
    private const int Frames = 20_000;

    private readonly TransferOptions _options = new() { FrameBytes = FrameBytes };

    [Test]
    public async Task Frames_OfSeveralPriorities_MostUrgentGoFirst()
    {
        await using var peer = Peer();
        var connection = new GatedConnection { RoomBytes = int.MaxValue };
        var lane = Lane(peer);
        var sessions = Enum.GetValues<TransferPriority>().Reverse().ToDictionary(p => p, p => Begin(peer, p, 10));
        foreach (var session in sessions.Values)
        {
            Enqueue(session, 3);
        }

        var order = Take(peer, lane, connection, 12).Select(frame => frame.Session.Priority);

        Assert.That(order, Is.Ordered);
        Assert.That(peer.TryTake(lane, connection, out _), Is.False);
    }

    [Test]
    public async Task Frames_OfOnePriority_TakeTurns()
    {
        await using var peer = Peer();
        var connection = new GatedConnection { RoomBytes = int.MaxValue };
        var lane = Lane(peer);
        TransferSession[] sessions = [Begin(peer, 0, 10), Begin(peer, 0, 10), Begin(peer, 0, 10)];
        foreach (var session in sessions)
        {
            Enqueue(session, 2);
        }

        var order = Take(peer, lane, connection, 6).Select(frame => Array.IndexOf(sessions, frame.Session));

        Assert.That(order, Is.EqualTo([0, 1, 2, 0, 1, 2]));
    }

    [Test]
    public async Task UrgentFrame_WithoutRoom_IsNotPassedByOthers()
    {
        await using var peer = Peer();
        var connection = new GatedConnection { RoomBytes = FrameBytes - 1 };
        var lane = Lane(peer);
        var small = Begin(peer, TransferPriority.Replication, 1);
        Assert.That(small.TryEnqueue(1, 10, 0, 0));
        Enqueue(Begin(peer, TransferPriority.ForegroundGet, 1), 1);

        Assert.That(peer.TryTake(lane, connection, out _), Is.False);
        connection.RoomBytes = FrameBytes;

        Assert.That(
            Take(peer, lane, connection, 2).Select(frame => frame.Session.Priority),
            Is.EqualTo([TransferPriority.ForegroundGet, TransferPriority.Replication]));
    }

    [Test]
    public async Task Frames_WithoutAnswer_AreBounded()
    {
        await using var peer = Peer(_options with { FramesInFlightMax = 3 });
        var connection = new GatedConnection { RoomBytes = int.MaxValue };
        var lane = Lane(peer, _options with { FramesInFlightMax = 3 });
        Enqueue(Begin(peer, 0, 10), 5);

        var taken = Take(peer, lane, connection, 3);
        Assert.That(peer.TryTake(lane, connection, out _), Is.False);
        Answer(peer, lane, taken[0]);

        Assert.That(peer.TryTake(lane, connection, out var next), Is.True);
        Assert.That(next.Header.Sequence, Is.EqualTo(3));
        Assert.That(
            () => Answer(peer, lane, next), Throws.InstanceOf<InvalidDataException>(), "answers come in order");
    }

    [Test]
    public async Task Frame_FromEnqueueToAnswer_AllocatesNothing()
    {
        await using var peer = Peer();
        var connection = new GatedConnection { RoomBytes = int.MaxValue };
        var lane = Lane(peer);
        var session = Begin(peer, 0, WarmUp + Frames);
        Round(WarmUp);

        var before = GC.GetAllocatedBytesForCurrentThread();
        Round(Frames);
        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;

        Assert.That(allocated, Is.Zero);
        Assert.That(session.BytesAcknowledged, Is.EqualTo((WarmUp + Frames) * 100L));

        void Round(int frames)
        {
            for (var i = 0; i < frames; i++)
            {
                if (!session.TryEnqueue(1, 100, 0, 0) || !peer.TryTake(lane, connection, out var frame))
                {
                    throw new InvalidOperationException("the frame was not taken");
                }

                frame.EndRead();
                Answer(peer, lane, frame);
            }
        }
    }

    private static void Enqueue(TransferSession session, int count)
    {
        for (var i = 0; i < count; i++)
        {
            Assert.That(session.TryEnqueue(1, FrameBytes, i, 0));
        }
    }

    private static List<FrameToSend> Take(PeerLink peer, Lane lane, GatedConnection connection, int count)
    {
        var frames = new List<FrameToSend>();
        for (var i = 0; i < count; i++)
        {
            Assert.That(peer.TryTake(lane, connection, out var frame));
            frame.EndRead();
            frames.Add(frame);
        }

        return frames;
    }

    private static void Answer(PeerLink peer, Lane lane, in FrameToSend frame) => peer.Answer(
        lane, TransferTransport.Grpc,
        new FrameReply(frame.Header.Target, frame.Header.Sequence, FrameOutcome.Written, 0));

    private static TransferSession Begin(PeerLink peer, TransferPriority priority, int framesMax) =>
        peer.TryBegin(new ReservationId(1, 1), priority, framesMax)!;

    private static SendingContext Context(TransferOptions options) => new(
        options, new PeerOptions(), new TransferFault(new TransferFaultOptions()), new TransferCounters(),
        NullLoggerFactory.Instance, NullLogger.Instance, TimeProvider.System);

    private PeerLink Peer(TransferOptions? options = null) =>
        new("http://127.0.0.1:1", Context(options ?? _options));

    private Lane Lane(PeerLink peer, TransferOptions? options = null) => new(
        peer, _ => Task.FromException<IFrameConnection>(new IOException("never")), Context(options ?? _options));

    private sealed class GatedConnection : IFrameConnection
    {
        public int RoomBytes { get; set; }

        public TransferTransport Transport => TransferTransport.Grpc;

        public bool HasRoom(int bytes) => bytes <= RoomBytes;

        public ValueTask SendAsync(FrameToSend frame) => throw new NotSupportedException();

        public ValueTask<FrameReply> ReceiveAsync(CancellationToken cancellationToken) =>
            throw new NotSupportedException();

        public void Abort()
        {
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
