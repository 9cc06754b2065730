namespace Kimi.Mooncake.Worker;

/// <summary>Counts of durations up to each of some bounds, and their sum. Written by one thread, read by any.</summary>
internal sealed class Histogram
{
    private static readonly double[] BoundsSeconds =
        [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

    private readonly Lock _lock = new();
    private readonly long[] _counts = new long[BoundsSeconds.Length + 1];
    private double _sumSeconds;

    /// <summary>Upper bounds; what is longer counts in no bucket but in the total.</summary>
    public static IReadOnlyList<double> Bounds => BoundsSeconds;

    public void Add(TimeSpan duration)
    {
        var seconds = duration.TotalSeconds;
        var bucket = 0;
        while (bucket < BoundsSeconds.Length && seconds > BoundsSeconds[bucket])
        {
            bucket++;
        }

        lock (_lock)
        {
            _counts[bucket]++;
            _sumSeconds += seconds;
        }
    }

    public HistogramSnapshot Snapshot()
    {
        lock (_lock)
        {
            var cumulative = new long[BoundsSeconds.Length];
            var sum = 0L;
            for (var i = 0; i < cumulative.Length; i++)
            {
                sum += _counts[i];
                cumulative[i] = sum;
            }

            return new HistogramSnapshot(cumulative, sum + _counts[^1], _sumSeconds);
        }
    }
}

/// <summary>A histogram at one moment.</summary>
/// <param name="Cumulative">Durations up to each bound.</param>
/// <param name="Count">All durations.</param>
/// <param name="SumSeconds">Their sum.</param>
internal sealed record HistogramSnapshot(IReadOnlyList<long> Cumulative, long Count, double SumSeconds);
