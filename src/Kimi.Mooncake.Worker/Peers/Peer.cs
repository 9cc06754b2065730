namespace Kimi.Mooncake.Worker.Peers;

/// <summary>Another process that has blocks, as this one has come to know it.</summary>
internal sealed class Peer(string address, PeerBlocksOptions options, TimeProvider time)
{
    private volatile bool _isNear;

    public string Address { get; } = address;

    public CircuitBreaker Breaker { get; } =
        new(options.BreakerFailuresMax, TimeSpan.FromMilliseconds(options.BreakerPauseMs), time);

    public TransferRate Rate { get; } = new(TimeSpan.FromMilliseconds(options.RateLifetimeMs), time);

    public PeerLoad Load { get; } = new(TimeSpan.FromMilliseconds(options.RateLifetimeMs), time);

    /// <summary>Whether it is on the machine of this process.</summary>
    public bool IsNear
    {
        get => _isNear;
        set => _isNear = value;
    }

    public override string ToString() => Address;
}
