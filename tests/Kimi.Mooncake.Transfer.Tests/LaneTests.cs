using Grpc.Core;
using Kimi.Mooncake.Cluster.Tests;
using Microsoft.Extensions.Logging.Abstractions;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Transfer.Tests;

/// <summary>What a sender makes of connections that break, and of such that take or answer nothing.</summary>
public sealed class LaneTests
{
    private const int FrameBytes = 16 << 10;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

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

    [Test]
    public async Task Pauses_BetweenConnections_GrowUntilOneWasOfUse()
    {
        var time = new RecordingTime();
        await using var peer = new PeerLink("http://127.0.0.1:1", Context(TimeProvider.System));
        var session = Begin(peer, frames: 2);
        var attempts = 0;
        await using var lane = new Lane(peer, Connect, Context(time, reconnectDelayMsMax: 50));
        lane.Start();

        await session.FlushAsync(CancellationToken.None).WaitAsync(Patience);

        Assert.That(time.Pauses.Select(pause => pause.TotalMilliseconds), Is.EqualTo([10, 20, 40, 50, 10, 20]));

        // The fifth answers one frame, the seventh all.
        Task<IFrameConnection> Connect(CancellationToken cancellationToken) => ++attempts is 5 or 7
            ? Task.FromResult<IFrameConnection>(new SimulatedConnection(Answer))
            : Task.FromException<IFrameConnection>(new IOException("refused"));

        Task Answer(SimulatedConnection connection, FrameHeader frame)
        {
            if (attempts == 7 || frame.Sequence == 0)
            {
                connection.Answer(frame);
            }

            if (attempts == 5)
            {
                connection.End();
            }

            return Task.CompletedTask;
        }
    }

    [Test]
    public async Task Dispose_WhileAConnectionTakesNothing_Ends()
    {
        var context = Context(TimeProvider.System);
        await using var peer = new PeerLink("http://127.0.0.1:1", context);
        Begin(peer, frames: 1);
        var sending = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var lane = new Lane(
            peer,
            _ => Task.FromResult<IFrameConnection>(new SimulatedConnection((connection, _) =>
            {
                sending.TrySetResult();
                return connection.Aborted;
            })),
            context);
        lane.Start();
        await sending.Task.WaitAsync(Patience);

        await lane.DisposeAsync().AsTask().WaitAsync(Patience);

        Assert.That(lane.IsConnected, Is.False);
    }

    [Test]
    public async Task WrongAnswer_WhileAConnectionTakesNothing_OpensAnother()
    {
        var context = Context(TimeProvider.System);
        await using var peer = new PeerLink("http://127.0.0.1:1", context);
        var session = Begin(peer, frames: 3);
        var connections = 0;
        var lane = new Lane(
            peer,
            _ => Task.FromResult<IFrameConnection>(
                new SimulatedConnection(Interlocked.Increment(ref connections) == 1 ? AnswerWrongly : Answer)),
            context);
        lane.Start();

        await session.FlushAsync(CancellationToken.None).WaitAsync(Patience);
        await lane.DisposeAsync();

        Assert.That(connections, Is.EqualTo(2));

        static Task AnswerWrongly(SimulatedConnection connection, FrameHeader frame)
        {
            connection.Answer(frame with { Sequence = frame.Sequence + 1 });
            return connection.Aborted;
        }

        static Task Answer(SimulatedConnection connection, FrameHeader frame)
        {
            connection.Answer(frame);
            return Task.CompletedTask;
        }
    }

    [Test]
    public async Task ConnectionWithoutAnswers_WhileAnotherGoesOn_IsGivenUpAfterTheStallTime()
    {
        const int RoundsMax = 100_000;
        var time = new ManualTime();
        var options = TransferPair.OptionsOf(TransferTransport.Grpc) with
        {
            ConnectionsPerPeer = 2,
            FramesInFlightMax = 1,
        };
        var service = new HalfSilentReceiver();
        await using var server = await Receiver.StartAsync(service);
        await using var sender = new TransferEngine(options, new PeerOptions(), NullLoggerFactory.Instance, time);
        using var source = new NativeSlots(1, 100);
        await using var stuck = await BeginAsync(1);
        await using var other = await BeginAsync(RoundsMax);
        Assert.That(stuck.TryEnqueue(source.Address(0), 100, 0, 0));
        var flush = stuck.FlushAsync(CancellationToken.None);
        await service.Kept.WaitAsync(Patience);

        var rounds = 0;
        for (; rounds < RoundsMax && !flush.IsCompleted; rounds++)
        {
            Assert.That(other.TryEnqueue(source.Address(0), 100, 0, 0));
            await other.FlushAsync(CancellationToken.None).WaitAsync(Patience);
            time.Advance(TimeSpan.FromMilliseconds(options.StallMsMax / 8));
        }

        Assert.That(flush.IsCompletedSuccessfully, $"after {rounds} rounds: {flush.Exception?.Message}");
        Assert.That(rounds, Is.GreaterThanOrEqualTo(8), "given up before its time");

        ValueTask<TransferSession> BeginAsync(int framesMax) => sender.BeginAsync(
            server.Address, new ReservationId(1, 1), TransferPriority.HandOver, framesMax, CancellationToken.None);
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

    private static SendingContext Context(TimeProvider time, int reconnectDelayMsMax = 500) => new(
        new TransferOptions { FrameBytes = FrameBytes, ReconnectDelayMsMax = reconnectDelayMsMax }, new PeerOptions(),
        new TransferFault(new TransferFaultOptions()), new TransferCounters(), NullLoggerFactory.Instance,
        NullLogger.Instance, time);

    /// <summary>Timers are due at once; how long they should have run is kept.</summary>
    private sealed class RecordingTime : TimeProvider
    {
        public List<TimeSpan> Pauses { get; } = [];

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            Pauses.Add(dueTime);
            return System.CreateTimer(callback, state, TimeSpan.Zero, period);
        }
    }

    /// <summary>The stream that the first frame comes on is never answered; all others are.</summary>
    internal sealed class HalfSilentReceiver : Wire.Transfer.TransferBase
    {
        private readonly TaskCompletionSource _kept = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _frames;

        public Task Kept => _kept.Task;

        public override Task<Wire.HelloResponse> Hello(Wire.HelloRequest request, ServerCallContext context) =>
            Task.FromResult(new Wire.HelloResponse { Host = "another" });

        public override async Task Frames(
            IAsyncStreamReader<Wire.Frame> requestStream, IServerStreamWriter<Wire.FrameReply> responseStream,
            ServerCallContext context)
        {
            await responseStream.WriteAsync(new Wire.FrameReply { CreditBytes = 8 << 20 });
            var isSilent = false;
            while (await requestStream.MoveNext(context.CancellationToken))
            {
                if (Interlocked.Increment(ref _frames) == 1)
                {
                    isSilent = true;
                    _kept.SetResult();
                }

                if (!isSilent)
                {
                    var frame = requestStream.Current;
                    await responseStream.WriteAsync(new Wire.FrameReply
                    {
                        Reservation = frame.Reservation,
                        Generation = frame.Generation,
                        Sequence = frame.Sequence,
                        Outcome = Wire.FrameOutcome.Written,
                        CreditBytes = (uint)frame.Payload.Length,
                    });
                }
            }
        }
    }
}
