using Kimi.Mooncake.Conductor;

namespace Kimi.Mooncake.Cluster;

/// <summary>A request in the conductor of this process.</summary>
internal sealed class ConductorLease(ConductorLoop loop) : IRouteLease
{
    private readonly CancellationTokenSource _decodeLost = new();
    private readonly CancellationTokenSource _prefillLost = new();
    private readonly TaskCompletionSource _decided = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Ends when <see cref="Ticket"/> has a pair or a refusal.</summary>
    public Task Decided => _decided.Task;

    /// <summary>Set before anybody else sees the lease.</summary>
    public RouteTicket Ticket { get; set; } = null!;

    /// <summary>Why there are no workers; null when there are.</summary>
    public RouteRefusal? Refusal { get; private set; }

    public WorkerPair Pair { get; private set; } = null!;

    public CancellationToken DecodeLost => _decodeLost.Token;

    public CancellationToken PrefillLost => _prefillLost.Token;

    public string LostReason { get; private set; } = "";

    public ValueTask DisposeAsync()
    {
        loop.Release(this);
        return ValueTask.CompletedTask;
    }

    /// <summary>Takes the decision over from the ticket; called under the conductor's lock.</summary>
    public void Decide()
    {
        Pair = Ticket.Pair!;
        Refusal = Ticket.Refusal;
        _decided.TrySetResult();
    }

    /// <summary>Tells of a lost node; never called under a lock, since it runs what waits for it.</summary>
    public void Lose(string nodeId, string reason)
    {
        LostReason = $"node {nodeId} is lost: {reason}";
        if (Pair.Decode.NodeId == nodeId)
        {
            _decodeLost.Cancel();
        }

        if (Pair.Prefill?.NodeId == nodeId)
        {
            _prefillLost.Cancel();
        }
    }
}
