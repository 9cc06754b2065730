namespace Kimi.Mooncake.Worker.Peers;

/// <summary>
/// The order in which replicas are asked: those that are slow, or left alone, last; among the others those with the
/// fewest calls of this process, where one on the same machine may have more; then as they are placed.
/// </summary>
internal static class ReplicaChoice
{
    // Calls by which another machine must be less busy to be asked before this one.
    private const int CallsFartherAway = 4;

    /// <summary>Sorts replicas.</summary>
    /// <param name="placed">The replicas as they are placed.</param>
    /// <param name="options">When a replica is slow.</param>
    public static Peer[] Order(IReadOnlyList<Peer> placed, PeerBlocksOptions options)
    {
        var fastest = Fastest(placed);
        return
        [
            .. placed.Select((peer, place) => (Peer: peer, Place: place))
                .OrderBy(one => !one.Peer.Breaker.WouldEnter)
                .ThenBy(one => IsSlow(one.Peer, fastest, options))
                .ThenBy(one => one.Peer.Load.Calls + (one.Peer.IsNear ? 0 : CallsFartherAway))
                .ThenBy(one => one.Place)
                .Select(one => one.Peer),
        ];
    }

    /// <summary>Whether a replica answers, or sends, far slower than the fastest of its group.</summary>
    /// <param name="peer">The replica.</param>
    /// <param name="fastest">What the fastest does.</param>
    /// <param name="options">What is far slower.</param>
    public static bool IsSlow(
        Peer peer, (double AnswerSeconds, double BytesPerSecond) fastest, PeerBlocksOptions options) =>
        peer.Load.AnswerSeconds > Math.Max(fastest.AnswerSeconds * options.SlowFactor, options.SlowMsMin / 1000.0)
        || (peer.Rate.BytesPerSecond is var rate and > 0 && rate * options.SlowFactor < fastest.BytesPerSecond);

    /// <summary>The shortest answer and the highest rate that are known; 0 when none are.</summary>
    public static (double AnswerSeconds, double BytesPerSecond) Fastest(IEnumerable<Peer> peers)
    {
        var (answer, rate) = (0d, 0d);
        foreach (var peer in peers)
        {
            var mine = peer.Load.AnswerSeconds;
            answer = mine > 0 && (answer == 0 || mine < answer) ? mine : answer;
            rate = Math.Max(rate, peer.Rate.BytesPerSecond);
        }

        return (answer, rate);
    }
}
