namespace Kimi.Mooncake.Conductor;

/// <summary>
/// What prefill costs on one worker: the prompt positions from p to n take
/// <c>fixed + token * (n - p) + pair * (n * n - p * p) / 2</c> seconds.
/// A pair is a position and one that it attends to.
/// </summary>
/// <param name="FixedSeconds">Seconds of a prefill apart from its tokens.</param>
/// <param name="TokenSeconds">Seconds for each position.</param>
/// <param name="PairSeconds">Seconds for each pair.</param>
/// <param name="Samples">Steps measured; 0 means that the values are only a guess.</param>
public readonly record struct PrefillCost(double FixedSeconds, double TokenSeconds, double PairSeconds, long Samples)
{
    /// <summary>Whether there is anything to calculate with.</summary>
    public bool IsKnown => TokenSeconds > 0 || PairSeconds > 0;

    /// <summary>Pairs of the positions from <paramref name="from"/> to <paramref name="to"/>.</summary>
    /// <param name="from">First position.</param>
    /// <param name="to">Position after the last.</param>
    public static double Pairs(long from, long to) => ((double)to * to - (double)from * from) / 2;

    /// <summary>Seconds to compute the positions from <paramref name="from"/> to <paramref name="to"/>.</summary>
    /// <param name="from">First position.</param>
    /// <param name="to">Position after the last.</param>
    /// <returns>0 when there is no position.</returns>
    public double Seconds(long from, long to) =>
        to <= from ? 0 : FixedSeconds + TokenSeconds * (to - from) + PairSeconds * Pairs(from, to);
}
