namespace Kimi.Mooncake.Engine;

/// <summary>What becomes of the generated tokens of a sequence that loses its blocks to an older one.</summary>
public enum PreemptionMode
{
    /// <summary>Whatever is estimated to take less time.</summary>
    Auto,

    /// <summary>They are computed again.</summary>
    Recompute,

    /// <summary>Their blocks are put aside and brought back, wherever the connector takes them.</summary>
    Swap,
}

/// <summary>What the choice between the two ways of preemption depends on.</summary>
/// <param name="SwapBytesPerSecond">How fast blocks are put aside, and how fast they are brought back.</param>
/// <param name="ReplayTokenSeconds">How long it takes until one more generated token is computed again.</param>
public readonly record struct PreemptionRates(double SwapBytesPerSecond, double ReplayTokenSeconds)
{
    /// <summary>Whether bringing blocks out and in is faster than computing their tokens again.</summary>
    /// <param name="bytes">Size of the blocks.</param>
    /// <param name="tokens">Generated tokens in them.</param>
    public bool SwapIsFaster(long bytes, int tokens) =>
        2.0 * bytes / SwapBytesPerSecond < tokens * ReplayTokenSeconds;
}
