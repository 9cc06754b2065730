namespace Kimi.Mooncake.Worker.Peers;

/// <summary>Whether blocks that a store node has are worth asking for.</summary>
internal static class PullRule
{
    /// <summary>Whether pulling is faster than computing. What is not known yet is found out by pulling.</summary>
    /// <param name="bytes">Bytes to pull.</param>
    /// <param name="bytesPerSecond">Measured rate of the peer; 0 when it is not known.</param>
    /// <param name="computeSeconds">Estimated time to compute the same blocks; 0 when it is not known.</param>
    public static bool IsWorthPulling(long bytes, double bytesPerSecond, double computeSeconds) =>
        bytesPerSecond <= 0 || computeSeconds <= 0 || bytes / bytesPerSecond < computeSeconds;
}
