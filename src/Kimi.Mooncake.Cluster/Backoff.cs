namespace Kimi.Mooncake.Cluster;

/// <summary>Waits between tries: each up to twice as long as the one before, and different for callers.</summary>
internal sealed class Backoff
{
    private readonly TimeSpan _first;
    private readonly TimeSpan _max;
    private readonly Random _random;
    private TimeSpan _next;

    /// <param name="first">Longest first wait.</param>
    /// <param name="max">Longest wait.</param>
    /// <param name="seed">Where the random part starts.</param>
    public Backoff(TimeSpan first, TimeSpan max, int seed)
    {
        _first = first;
        _max = max;
        _random = new Random(seed);
        _next = first;
    }

    /// <summary>The next wait: between half of its length and all of it.</summary>
    public TimeSpan Next()
    {
        var wait = _next * (0.5 + (_random.NextDouble() / 2));
        _next = _next * 2 < _max ? _next * 2 : _max;
        return wait;
    }

    public void Reset() => _next = _first;
}
