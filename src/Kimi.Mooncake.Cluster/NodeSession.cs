using Grpc.Core;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.KvCache;
using Kimi.Mooncake.Protocol;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster;

/// <summary>
/// One connection of a node to its conductor. One loop writes: loads at their interval, and KV events as they come;
/// another one reads.
/// </summary>
internal sealed class NodeSession : IAsyncDisposable
{
    /// <summary>Keys in a message: with their flags far below the least limit that messages can have.</summary>
    public const int KeysPerMessage = 1024;

    private readonly INode _node;
    private readonly TimeProvider _time;
    private readonly CancellationTokenSource _ended;
    private readonly AsyncDuplexStreamingCall<Wire.NodeMessage, Wire.ConductorMessage> _call;
    private readonly Signal _signal = new();
    private readonly KvEvent[] _events = new KvEvent[KeysPerMessage];
    private readonly BlockKey[] _keys = new BlockKey[KeysPerMessage];
    private readonly ReplicaTasks _tasks;
    private bool _loadDue = true;
    private bool _snapshotDue = true;
    private long _nextSequence;

    public NodeSession(
        Wire.Conductor.ConductorClient client, INode node, TimeProvider time,
        Func<ReplicaTask, CancellationToken, Task<ReplicaOutcome>>? copy = null, int replicaTasksMax = 1)
    {
        _node = node;
        _tasks = new ReplicaTasks(copy, replicaTasksMax, _signal.Set);
        _time = time;
        _ended = new CancellationTokenSource(Timeout.InfiniteTimeSpan, time);
        _call = client.Attach(new CallOptions(cancellationToken: _ended.Token).WithWaitForReady());
    }

    /// <summary>Registers, and gives the conductor's first word.</summary>
    /// <exception cref="RpcException">The conductor cannot be reached.</exception>
    /// <exception cref="OperationCanceledException">It did not answer in time.</exception>
    public async Task<Wire.ConductorMessage> RegisterAsync(
        Wire.NodeRegistration registration, CancellationToken cancellationToken)
    {
        // Cancelling ends the call, since a call that waits for its connection hears of nothing else.
        await using var abort = cancellationToken.Register(_ended.Cancel).ConfigureAwait(false);
        await SendAsync(new Wire.NodeMessage { Registration = registration }).ConfigureAwait(false);
        return await _call.ResponseStream.MoveNext(cancellationToken).ConfigureAwait(false)
            ? _call.ResponseStream.Current
            : throw new InvalidDataException("the conductor ended the call without an answer");
    }

    /// <summary>Is a member until the conductor ends it or the node stops.</summary>
    /// <param name="loadInterval">Time between two loads.</param>
    /// <param name="obey">Takes what the conductor says, but for its wishes for keys.</param>
    /// <param name="leaveLimit">Longest wait for the conductor to take the leave of a node that stops.</param>
    /// <param name="stopping">The node stops.</param>
    public async Task RunAsync(
        TimeSpan loadInterval, Action<Wire.ConductorMessage> obey, TimeSpan leaveLimit, CancellationToken stopping)
    {
        var feed = _node.KvEvents;
        await using var timer = _time.CreateTimer(_ => LoadIsDue(), null, loadInterval, loadInterval)
            .ConfigureAwait(false);
        if (feed is not null)
        {
            feed.Published += _signal.Set;
        }

        try
        {
            // Whatever stands still by then, a conductor that reads nothing included, does not hold the node up.
            await using var limit = stopping.Register(() => _ended.CancelAfter(leaveLimit)).ConfigureAwait(false);
            using var writing = CancellationTokenSource.CreateLinkedTokenSource(stopping);
            var reader = ReadAsync(obey);
            var writer = WriteAsync(feed, writing.Token);
            await Task.WhenAny(reader, writer).ConfigureAwait(false);
            await writing.CancelAsync().ConfigureAwait(false);
            await writer.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (stopping.IsCancellationRequested)
            {
                await _call.RequestStream.CompleteAsync().ConfigureAwait(false);
                await reader.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                return;
            }

            await _ended.CancelAsync().ConfigureAwait(false);
            await reader.ConfigureAwait(false);
        }
        finally
        {
            if (feed is not null)
            {
                feed.Published -= _signal.Set;
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _tasks.DisposeAsync().ConfigureAwait(false);
        _call.Dispose();
        _ended.Dispose();
    }

    private void LoadIsDue()
    {
        Volatile.Write(ref _loadDue, true);
        _signal.Set();
    }

    private async Task ReadAsync(Action<Wire.ConductorMessage> obey)
    {
        while (await _call.ResponseStream.MoveNext(_ended.Token).ConfigureAwait(false))
        {
            var message = _call.ResponseStream.Current;
            if (message.MessageCase == Wire.ConductorMessage.MessageOneofCase.Resync)
            {
                Volatile.Write(ref _snapshotDue, true);
                _signal.Set();
            }
            else if (message.MessageCase == Wire.ConductorMessage.MessageOneofCase.ReplicaOrder)
            {
                _tasks.Begin(ReplicaMessages.ToTask(message.ReplicaOrder));
            }
            else
            {
                obey(message);
            }
        }
    }

    private async Task WriteAsync(KvEventFeed? feed, CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            if (Interlocked.Exchange(ref _loadDue, false))
            {
                await SendAsync(new Wire.NodeMessage { Load = ConductorMessages.ToMessage(_node.Load()) })
                    .ConfigureAwait(false);
            }

            if (feed is not null)
            {
                await TellKeysAsync(feed, cancellationToken).ConfigureAwait(false);
            }

            while (_tasks.TryTake(out var report))
            {
                await SendAsync(report).ConfigureAwait(false);
            }

            await _signal.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Brings the conductor up to date; a load that falls due meanwhile goes first.</summary>
    private async Task TellKeysAsync(KvEventFeed feed, CancellationToken cancellationToken)
    {
        if (Interlocked.Exchange(ref _snapshotDue, false))
        {
            await TellSnapshotAsync(feed, cancellationToken).ConfigureAwait(false);
        }

        while (!Volatile.Read(ref _loadDue) && !cancellationToken.IsCancellationRequested)
        {
            if (!feed.TryRead(_nextSequence, _events, out var count))
            {
                // The log has gone on without us.
                await TellSnapshotAsync(feed, cancellationToken).ConfigureAwait(false);
                continue;
            }

            if (count == 0)
            {
                return;
            }

            await SendAsync(ToMessage(count)).ConfigureAwait(false);
            _nextSequence += count;
        }
    }

    private async Task TellSnapshotAsync(KvEventFeed feed, CancellationToken cancellationToken)
    {
        var (keys, sequence) = feed.Snapshot();
        _nextSequence = sequence + 1;
        for (var from = 0; from == 0 || from < keys.Length; from += KeysPerMessage)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var count = Math.Min(KeysPerMessage, keys.Length - from);
            await SendAsync(new Wire.NodeMessage
            {
                KvEvents = new Wire.KvEvents
                {
                    Sequence = (ulong)sequence,
                    SnapshotBegin = from == 0,
                    SnapshotEnd = from + count == keys.Length,
                    Keys = BlockKeyMessages.ToBytes(keys.AsSpan(from, count)),
                },
            }).ConfigureAwait(false);

            // A snapshot of many keys may not cost the membership.
            if (Interlocked.Exchange(ref _loadDue, false))
            {
                await SendAsync(new Wire.NodeMessage { Load = ConductorMessages.ToMessage(_node.Load()) })
                    .ConfigureAwait(false);
            }
        }
    }

    private Wire.NodeMessage ToMessage(int count)
    {
        var message = new Wire.KvEvents { Sequence = (ulong)_nextSequence };
        for (var i = 0; i < count; i++)
        {
            _keys[i] = _events[i].Key;
            message.Removed.Add(_events[i].Removed);
        }

        message.Keys = BlockKeyMessages.ToBytes(_keys.AsSpan(0, count));
        return new Wire.NodeMessage { KvEvents = message };
    }

    private Task SendAsync(Wire.NodeMessage message) => _call.RequestStream.WriteAsync(message, CancellationToken.None);
}
