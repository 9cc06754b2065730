using Grpc.Core;
using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Protocol;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster;

/// <summary>The conductor of this process for other processes.</summary>
/// <param name="conductor">Who decides; owned by the caller.</param>
/// <param name="time">Clock.</param>
public sealed class ConductorService(ConductorLoop conductor, TimeProvider time) : Wire.Conductor.ConductorBase
{
    private static readonly TimeSpan DrainInterval = TimeSpan.FromMilliseconds(100);

    /// <inheritdoc />
    public override async Task Attach(
        IAsyncStreamReader<Wire.NodeMessage> requestStream,
        IServerStreamWriter<Wire.ConductorMessage> responseStream,
        ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(requestStream);
        ArgumentNullException.ThrowIfNull(responseStream);
        ArgumentNullException.ThrowIfNull(context);
        try
        {
            await AttachAsync(requestStream, responseStream, context.CancellationToken).ConfigureAwait(false);
        }
        catch (Exception) when (context.CancellationToken.IsCancellationRequested)
        {
            throw Ended();
        }
    }

    /// <inheritdoc />
    public override async Task Route(
        Wire.RouteRequest request, IServerStreamWriter<Wire.RouteEvent> responseStream, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(responseStream);
        ArgumentNullException.ThrowIfNull(context);
        try
        {
            await RouteAsync(request, responseStream, context.CancellationToken).ConfigureAwait(false);
        }
        catch (Exception) when (context.CancellationToken.IsCancellationRequested)
        {
            throw Ended();
        }
    }

    /// <inheritdoc />
    public override Task<Wire.ListNodesResponse> ListNodes(Wire.ListNodesRequest request, ServerCallContext context)
    {
        var state = conductor.State();
        var response = new Wire.ListNodesResponse
        {
            Waiting = (uint)state.Waiting,
            Routed = (uint)state.Routed,
            DegradedReason = state.DegradedReason,
        };
        response.Nodes.AddRange(state.Nodes.Select(ConductorMessages.ToMessage));
        return Task.FromResult(response);
    }

    /// <inheritdoc />
    public override async Task Drain(
        Wire.DrainRequest request, IServerStreamWriter<Wire.DrainEvent> responseStream, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(responseStream);
        ArgumentNullException.ThrowIfNull(context);
        if (!conductor.Drain(request.NodeId))
        {
            throw new RpcException(new Status(StatusCode.NotFound, $"no node '{request.NodeId}' is registered"));
        }

        using var timer = new PeriodicTimer(DrainInterval, time);
        Wire.DrainEvent? told = null;
        while (true)
        {
            var now = conductor.DrainOf(request.NodeId) is { } progress
                ? new Wire.DrainEvent { RequestsLeft = (uint)progress.RequestsLeft, Drained = progress.IsDrained }
                : new Wire.DrainEvent { Drained = true, Lost = true };
            if (!now.Equals(told))
            {
                told = now;
                await responseStream.WriteAsync(now, context.CancellationToken).ConfigureAwait(false);
            }

            if (now.Drained)
            {
                return;
            }

            await timer.WaitForNextTickAsync(context.CancellationToken).ConfigureAwait(false);
        }
    }

    private async Task AttachAsync(
        IAsyncStreamReader<Wire.NodeMessage> requestStream, IServerStreamWriter<Wire.ConductorMessage> responseStream,
        CancellationToken ended)
    {
        var result = conductor.Register(
            await ReadRegistrationAsync(requestStream, ended).ConfigureAwait(false), out var member);
        if (member is null)
        {
            await responseStream.WriteAsync(
                new Wire.ConductorMessage { Refused = new Wire.NodeRefused { Reason = result.Message } }, ended)
                .ConfigureAwait(false);
            return;
        }

        var reading = ReadAsync(requestStream, member, ended);
        var writing = WriteAsync(responseStream, member, ended);
        var isOver = await Task.WhenAny(reading, writing).ConfigureAwait(false) == writing;
        var hasLeft = reading.IsCompletedSuccessfully;
        if (hasLeft)
        {
            conductor.Leave(member);
        }
        else
        {
            conductor.Disconnect(member);
        }

        member.End();
        if (isOver && writing.IsCompletedSuccessfully)
        {
            // What the node still sends is answered by nobody; the end of the call is what it is told.
            throw new RpcException(new Status(StatusCode.Aborted, "the membership is over; register again"));
        }

        await reading.ConfigureAwait(false);
        await writing.ConfigureAwait(false);
    }

    private static async Task<NodeDescriptor> ReadRegistrationAsync(
        IAsyncStreamReader<Wire.NodeMessage> requestStream, CancellationToken ended)
    {
        var isMessage = await requestStream.MoveNext(ended).ConfigureAwait(false);
        return isMessage && requestStream.Current.Registration is { } registration
            ? Checked(() => ConductorMessages.ToDescriptor(registration))
            : throw new RpcException(new Status(StatusCode.InvalidArgument, "the first message is a registration"));
    }

    private async Task ReadAsync(
        IAsyncStreamReader<Wire.NodeMessage> requestStream, ConductorMember member, CancellationToken ended)
    {
        while (await requestStream.MoveNext(ended).ConfigureAwait(false))
        {
            var message = requestStream.Current;
            switch (message.MessageCase)
            {
                case Wire.NodeMessage.MessageOneofCase.Load:
                    conductor.Heartbeat(member, Checked(() => ConductorMessages.ToLoad(message.Load)));
                    break;
                case Wire.NodeMessage.MessageOneofCase.KvEvents:
                    Apply(member, message.KvEvents);
                    break;
                case Wire.NodeMessage.MessageOneofCase.ReplicaReport:
                    Checked(() =>
                    {
                        conductor.ReportReplicas(member, message.ReplicaReport);
                        return true;
                    });
                    break;
                default:
                    throw new RpcException(new Status(
                        StatusCode.InvalidArgument, $"{message.MessageCase} after the registration"));
            }
        }
    }

    private void Apply(ConductorMember member, Wire.KvEvents message)
    {
        var keys = Checked(() => BlockKeyMessages.ToKeys(message.Keys, "kv_events.keys"));
        var result = Checked(() => conductor.Apply(member, new KvEventBatch
        {
            Sequence = message.Sequence,
            SnapshotBegin = message.SnapshotBegin,
            SnapshotEnd = message.SnapshotEnd,
            Keys = keys,
            Removed = message.Removed.ToArray(),
        }));
        if (result == KvEventResult.ResyncWanted)
        {
            member.Tell(new Wire.ConductorMessage { Resync = new Wire.KvResync() });
        }
    }

    private static async Task WriteAsync(
        IServerStreamWriter<Wire.ConductorMessage> responseStream, ConductorMember member, CancellationToken ended)
    {
        await foreach (var message in member.Messages.ReadAllAsync(ended).ConfigureAwait(false))
        {
            await responseStream.WriteAsync(message, ended).ConfigureAwait(false);
        }
    }

    private async Task RouteAsync(
        Wire.RouteRequest request, IServerStreamWriter<Wire.RouteEvent> responseStream, CancellationToken ended)
    {
        var lease = conductor.Submit(Checked(() => ConductorMessages.ToQuery(request)));
        await using var owned = lease.ConfigureAwait(false);
        await lease.Decided.WaitAsync(ended).ConfigureAwait(false);
        if (lease.Refusal is { } refusal)
        {
            await responseStream.WriteAsync(
                new Wire.RouteEvent { Refused = ConductorMessages.ToMessage(refusal) }, ended).ConfigureAwait(false);
            return;
        }

        await responseStream.WriteAsync(new Wire.RouteEvent { Pair = ConductorMessages.ToMessage(lease.Pair) }, ended)
            .ConfigureAwait(false);
        await TellLostAsync(lease, responseStream, ended).ConfigureAwait(false);
    }

    /// <summary>Until the call ends, which is the only end of a lease.</summary>
    private static async Task TellLostAsync(
        ConductorLease lease, IServerStreamWriter<Wire.RouteEvent> responseStream, CancellationToken ended)
    {
        var signal = new Signal();
        var told = new HashSet<string>();
        await using var decode = lease.DecodeLost.Register(signal.Set).ConfigureAwait(false);
        await using var prefill = lease.PrefillLost.Register(signal.Set).ConfigureAwait(false);
        while (true)
        {
            await signal.WaitAsync(ended).ConfigureAwait(false);
            foreach (var (token, node) in new[]
            {
                (lease.DecodeLost, lease.Pair.Decode), (lease.PrefillLost, lease.Pair.Prefill),
            })
            {
                if (token.IsCancellationRequested && node is not null && told.Add(node.NodeId))
                {
                    await responseStream.WriteAsync(
                        new Wire.RouteEvent
                        {
                            Lost = new Wire.NodeLost { NodeId = node.NodeId, Reason = lease.LostReason },
                        },
                        ended).ConfigureAwait(false);
                }
            }
        }
    }

    /// <summary>What a call that its client ended, or that broke, ends with; it is nobody's fault.</summary>
    private static RpcException Ended() => new(new Status(StatusCode.Cancelled, "the call was ended"));

    /// <summary>A message that is not as it must be, or that the conductor refuses, is the caller's fault.</summary>
    private static T Checked<T>(Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception fault) when (fault is InvalidDataException or ArgumentException)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, fault.Message));
        }
    }
}
