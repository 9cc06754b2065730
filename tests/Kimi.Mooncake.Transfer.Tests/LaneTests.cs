using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Transfer.Tests;

/// <summary>What a sender makes of connections that break.</summary>
public sealed class LaneTests
{
    private const int FrameBytes = 16 << 10;

    [Test]
    public async Task Connections_ThatBreakBeforeTheyAnswer_StillCarryEveryFrame()
    {
        const int Frames = 40;
        const int UnansweredMax = 6;
        var context = Context(TimeProvider.System, reconnectDelayMsMax: 1);
        await using var peer = new PeerLink("http://127.0.0.1:1", context);
        var session = Begin(peer, Frames);
        var connections = 0;
        var tooMany = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Lane lane = null!;
        await using var sending = lane = new Lane(peer, Connect, context);
        lane.Start();

        await Task.WhenAny(session.FlushAsync(CancellationToken.None), tooMany.Task);

        Assert.That(
            session.BytesAcknowledged, Is.EqualTo(Frames * FrameBytes),
            $"of {connections} connections all but the first should have carried a frame");

        Task<IFrameConnection> Connect(CancellationToken cancellationToken)
        {
            if (++connections > Frames + 1)
            {
                tooMany.TrySetResult();
            }

            var unanswered = new List<FrameHeader>();
            return Task.FromResult<IFrameConnection>(new SimulatedConnection(Take));

            // Answers when the sender waits for that, but does not live to see it if it is sent too much before.
            Task Take(SimulatedConnection connection, FrameHeader frame)
            {
                unanswered.Add(frame);
                if (WaitsForAnswers())
                {
                    unanswered.ForEach(answered => connection.Answer(answered));
                    unanswered.Clear();
                }

                return unanswered.Count < UnansweredMax
                    ? Task.CompletedTask : Task.FromException(new IOException("broken"));
            }
        }

        bool WaitsForAnswers()
        {
            lock (peer.Gate)
            {
                return !lane.HasRoomInFlight || !peer.HasWaiting();
            }
        }
    }

    private static TransferSession Begin(PeerLink peer, int frames)
    {
        var session = peer.TryBegin(new ReservationId(1, 1), TransferPriority.HandOver, frames)!;
        for (var i = 0; i < frames; i++)
        {
            Assert.That(session.TryEnqueue(1, FrameBytes, i, 0));
        }

        return session;
    }

    private static SendingContext Context(TimeProvider time, int reconnectDelayMsMax) => new(
        new TransferOptions { FrameBytes = FrameBytes, ReconnectDelayMsMax = reconnectDelayMsMax }, new PeerOptions(),
        new TransferFault(new TransferFaultOptions()), new TransferCounters(), NullLoggerFactory.Instance,
        NullLogger.Instance, time);
}
