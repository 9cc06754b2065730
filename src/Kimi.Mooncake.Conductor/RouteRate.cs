namespace Kimi.Mooncake.Conductor;

/// <summary>How many requests get workers in a second, averaged over the last half minute or so.</summary>
internal sealed class RouteRate
{
    private const double WindowSeconds = 15;

    private double _count;
    private TimeSpan _last;

    public void Add(TimeSpan now)
    {
        _count = Decayed(now) + 1;
        _last = now;
    }

    /// <summary>When a request that comes behind <paramref name="waiting"/> others will have its turn.</summary>
    public TimeSpan RetryAfter(int waiting, TimeSpan now, TimeSpan min, TimeSpan max)
    {
        var perSecond = Decayed(now) / WindowSeconds;
        var seconds = perSecond > 0 ? (waiting + 1) / perSecond : double.PositiveInfinity;
        return seconds >= max.TotalSeconds ? max : TimeSpan.FromSeconds(Math.Max(seconds, min.TotalSeconds));
    }

    private double Decayed(TimeSpan now) => _count * Math.Exp(-(now - _last).TotalSeconds / WindowSeconds);
}
