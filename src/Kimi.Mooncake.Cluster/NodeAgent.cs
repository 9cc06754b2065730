using Grpc.Core;
using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.KvCache.Placement;
using Microsoft.Extensions.Logging;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Cluster;

/// <summary>
/// A node's membership: registers with the conductor, tells it load and keys, and does what it says. A conductor that
/// is lost is called again, and the node registers anew with all its keys, until the agent is disposed.
/// </summary>
public sealed class NodeAgent : IAsyncDisposable
{
    private readonly Wire.Conductor.ConductorClient _client;
    private readonly NodeIdentity _identity;
    private readonly INode _node;
    private readonly NodeAgentOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Backoff _backoff;
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource _registered = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<string> _refused = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private IReadOnlyList<StoreNodeAddress> _storeNodes = [];
    private Task _running = Task.CompletedTask;
    private string _lastFault = "";
    private volatile bool _isMember;
    private bool _disposed;

    /// <summary>An agent that does nothing yet.</summary>
    /// <param name="conductor">Makes the calls to the conductor; owned by the caller.</param>
    /// <param name="identity">Who the node is.</param>
    /// <param name="node">What it says, and is told; must outlive the agent.</param>
    /// <param name="options">Waits.</param>
    /// <param name="time">Clock.</param>
    /// <param name="logger">Is told of the membership.</param>
    public NodeAgent(
        CallInvoker conductor, NodeIdentity identity, INode node, NodeAgentOptions options, TimeProvider time,
        ILogger logger)
    {
        ArgumentNullException.ThrowIfNull(identity);
        ArgumentNullException.ThrowIfNull(node);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(time);
        _client = new Wire.Conductor.ConductorClient(conductor);
        _identity = identity;
        _node = node;
        _options = options;
        _time = time;
        _logger = logger;
        _backoff = new Backoff(
            TimeSpan.FromMilliseconds(options.ReconnectDelayMs), TimeSpan.FromMilliseconds(options.ReconnectDelayMaxMs),
            HashCode.Combine(identity.NodeId, identity.Epoch));
    }

    /// <summary>Raised, on no thread in particular, with the nodes that keep blocks for all.</summary>
    public event Action<IReadOnlyList<StoreNodeAddress>>? StoreNodesChanged;

    /// <summary>
    /// Copies blocks to another store node, until its token ends; null in a node that keeps none for others. To be set
    /// before the agent is started.
    /// </summary>
    public Func<ReplicaTask, CancellationToken, Task<ReplicaOutcome>>? Copy { get; set; }

    /// <summary>The nodes that keep blocks for all, as last heard.</summary>
    public IReadOnlyList<StoreNodeAddress> StoreNodes => Volatile.Read(ref _storeNodes);

    /// <summary>Whether the node is a member at the moment.</summary>
    public bool IsMember => _isMember;

    /// <summary>Ends when the node is a member for the first time.</summary>
    public Task Registered => _registered.Task;

    /// <summary>Ends with the reason when the conductor refuses the node the first time; the agent asks on.</summary>
    public Task<string> Refused => _refused.Task;

    /// <summary>Registers, and stays registered.</summary>
    public void Start() => _running = Task.Run(RunAsync);

    /// <summary>Takes leave of the conductor: it gives the node no more work, at once.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, true))
        {
            return;
        }

        await _stopping.CancelAsync().ConfigureAwait(false);
        await _running.ConfigureAwait(false);
        _registered.TrySetCanceled();
        _refused.TrySetCanceled();
        _stopping.Dispose();
    }

    private async Task RunAsync()
    {
        while (!_stopping.IsCancellationRequested)
        {
            var wait = await AttachAsync().ConfigureAwait(false);
            _isMember = false;
            if (!_stopping.IsCancellationRequested)
            {
                // Cancelling ends the wait, which is its only failure.
                await Task.Delay(wait, _time, _stopping.Token)
                    .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    /// <summary>One membership, from its beginning to its end.</summary>
    /// <returns>How long to wait for the next one.</returns>
    private async Task<TimeSpan> AttachAsync()
    {
        try
        {
            var session = new NodeSession(_client, _node, _time, Copy, _options.ReplicaTasksMax);
            await using var owned = session.ConfigureAwait(false);
            var accepted = await RegisterAsync(session).ConfigureAwait(false);
            if (accepted is null)
            {
                return TimeSpan.FromMilliseconds(_options.RefusedRetryMs);
            }

            _backoff.Reset();
            _lastFault = "";
            _isMember = true;
            _registered.TrySetResult();
            ClusterLog.Joined(_logger, _identity.NodeId);
            await session.RunAsync(
                TimeSpan.FromMilliseconds(accepted.LoadIntervalMs), Obey,
                TimeSpan.FromMilliseconds(_options.LeaveTimeoutMs), _stopping.Token).ConfigureAwait(false);
            Report("the conductor ended the membership");
        }
        catch (Exception fault)
        {
            // Whatever ended this membership, the next one begins: a node without one is of no use to anybody.
            Report(fault is RpcException rpc ? $"{rpc.StatusCode}, {rpc.Status.Detail}" : fault.Message);
        }

        return _backoff.Next();
    }

    private async Task<Wire.NodeAccepted?> RegisterAsync(NodeSession session)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMilliseconds(_options.RegisterTimeoutMs), _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, _stopping.Token);
        var model = _node.Model;
        var registration = ConductorMessages.ToMessage(new NodeDescriptor(
            _identity.NodeId, _identity.Epoch, _identity.Roles, _identity.Address, model, _node.BlocksTotal,
            _node.SequencesMax)
        {
            Host = _identity.Host,
        });
        var answer = await session.RegisterAsync(registration, either.Token).ConfigureAwait(false);
        switch (answer.MessageCase)
        {
            case Wire.ConductorMessage.MessageOneofCase.Accepted when answer.Accepted.LoadIntervalMs > 0:
                return answer.Accepted;
            case Wire.ConductorMessage.MessageOneofCase.Refused:
                ClusterLog.Refused(_logger, _identity.NodeId, answer.Refused.Reason, _options.RefusedRetryMs);
                _refused.TrySetResult(answer.Refused.Reason);
                return null;
            default:
                throw new InvalidDataException($"the conductor answered a registration with {answer}");
        }
    }

    private void Obey(Wire.ConductorMessage message)
    {
        switch (message.MessageCase)
        {
            case Wire.ConductorMessage.MessageOneofCase.Drain:
                ClusterLog.Draining(_logger, _identity.NodeId);
                _node.BeginDrain();
                break;
            case Wire.ConductorMessage.MessageOneofCase.StoreNodes:
                var nodes = ReplicaMessages.ToStoreNodes(message.StoreNodes);
                Volatile.Write(ref _storeNodes, nodes);
                StoreNodesChanged?.Invoke(nodes);
                break;
            default:
                throw new InvalidDataException($"the conductor sent {message.MessageCase} to a member");
        }
    }

    /// <summary>A conductor that stays away is told of once, not with every try.</summary>
    private void Report(string fault)
    {
        if (!_stopping.IsCancellationRequested && fault != _lastFault)
        {
            _lastFault = fault;
            ClusterLog.ConductorLost(_logger, _identity.NodeId, fault);
        }
    }
}
