namespace Kimi.Mooncake.Conductor;

/// <summary>Whether a node can be given work.</summary>
public enum NodeHealth
{
    /// <summary>It can.</summary>
    Ready,

    /// <summary>It finishes what it has.</summary>
    Draining,

    /// <summary>Its heartbeats are missing, none has come yet, or it says that it cannot work.</summary>
    Suspect,
}

/// <summary>A registered node at one moment.</summary>
/// <param name="Descriptor">What it registered as.</param>
/// <param name="Load">Its last load; null before the first.</param>
/// <param name="Routed">Requests routed to it, for prefill or decode, that have not ended.</param>
/// <param name="IndexedBlocks">Keys known of its pool.</param>
/// <param name="Silent">Time since its last message.</param>
/// <param name="Health">Whether it can be given work.</param>
/// <param name="HealthReason">Why it cannot; empty when it can.</param>
public sealed record NodeState(
    NodeDescriptor Descriptor,
    NodeLoad? Load,
    int Routed,
    long IndexedBlocks,
    TimeSpan Silent,
    NodeHealth Health,
    string HealthReason)
{
    /// <summary>Whether it is to take no new work, or says so itself; also while it is suspect.</summary>
    public bool IsDraining { get; init; }
}

/// <summary>How far the draining of a node is.</summary>
/// <param name="RequestsLeft">Requests that it still has.</param>
/// <param name="IsDrained">It is safe to stop it.</param>
public readonly record struct DrainProgress(int RequestsLeft, bool IsDrained);
