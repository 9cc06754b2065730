namespace Kimi.Mooncake.Host.Bench;

/// <summary>Prompt tokens that were cached, by the second in which their requests began.</summary>
internal sealed class HitRate(int seconds)
{
    /// <summary>Seconds over which a rate is taken: one second has few requests.</summary>
    public const int WindowSeconds = 3;

    private readonly long[] _prompt = new long[seconds];
    private readonly long[] _cached = new long[seconds];

    public void Add(double beganS, int promptTokens, int cachedTokens)
    {
        var second = Math.Clamp((int)beganS, 0, seconds - 1);
        Interlocked.Add(ref _prompt[second], promptTokens);
        Interlocked.Add(ref _cached[second], cachedTokens);
    }

    /// <summary>Rate of each second; of one without requests, that of the one before.</summary>
    public IReadOnlyList<double> PerSecond()
    {
        var rates = new double[seconds];
        for (var second = 0; second < seconds; second++)
        {
            rates[second] = _prompt[second] > 0 ? Over(second, second + 1) : second > 0 ? rates[second - 1] : 0;
        }

        return rates;
    }

    /// <summary>Rate over some seconds; 0 without requests.</summary>
    public double Over(int from, int to)
    {
        var (prompt, cached) = (0L, 0L);
        for (var second = Math.Max(0, from); second < Math.Min(to, seconds); second++)
        {
            prompt += _prompt[second];
            cached += _cached[second];
        }

        return prompt == 0 ? 0 : (double)cached / prompt;
    }

    /// <summary>Lowest rate of a window after a moment.</summary>
    public double LowestAfter(int from) =>
        Enumerable.Range(from, Math.Max(1, seconds - from - WindowSeconds + 1))
            .Min(second => Over(second, second + WindowSeconds));

    /// <summary>Seconds from a moment until no later window is below a rate; null when the last one is.</summary>
    public int? RecoveredAfter(int from, double rate)
    {
        var last = -1;
        for (var second = from; second + WindowSeconds <= seconds; second++)
        {
            last = Over(second, second + WindowSeconds) < rate ? second : last;
        }

        return last < 0 ? 0 : last + WindowSeconds >= seconds ? null : last + WindowSeconds - from;
    }
}
