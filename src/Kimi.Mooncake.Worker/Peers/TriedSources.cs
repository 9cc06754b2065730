namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// The sources that one load has tried: who failed is asked for nothing more, who lacked a block for nothing more of
/// that group, and who was slow only where nobody else is left.
/// </summary>
/// <param name="own">Address of this process, which is no source.</param>
internal sealed class TriedSources(string own)
{
    /// <summary>Outcome of a pull that failed.</summary>
    public const int Failed = -1;

    /// <summary>Outcome of a pull that was ended before it was done.</summary>
    public const int Left = -2;

    private readonly HashSet<Peer> _failed = [];
    private readonly HashSet<Peer> _slow = [];
    private readonly HashSet<(Peer Peer, Peer[] Group)> _lacking = [];

    /// <summary>Whom to ask; null when nobody is left.</summary>
    public Peer? Next(Peer[] sources) =>
        Array.Find(sources, peer => !_slow.Contains(peer) && IsLeft(peer, sources))
        ?? Array.Find(sources, peer => IsLeft(peer, sources));

    /// <summary>Whom to ask in place of a source that may turn out to be slow; nobody twice.</summary>
    public Peer[] OthersThan(Peer peer, Peer[] sources) => _slow.Contains(peer)
        ? []
        : Array.FindAll(sources, other => other != peer && !_slow.Contains(other) && IsLeft(other, sources));

    /// <summary>A source did not give all that it was asked for.</summary>
    /// <param name="peer">The source.</param>
    /// <param name="sources">Sources of the first block that did not come.</param>
    /// <param name="outcome">Blocks that came, or why none did.</param>
    public void Add(Peer peer, Peer[] sources, int outcome) => _ = outcome switch
    {
        Failed => _failed.Add(peer),
        Left => _slow.Add(peer),
        _ => _lacking.Add((peer, sources)),
    };

    private bool IsLeft(Peer peer, Peer[] sources) => !_failed.Contains(peer)
        && !_lacking.Contains((peer, sources)) && peer.Address != own && peer.Breaker.WouldEnter;
}
