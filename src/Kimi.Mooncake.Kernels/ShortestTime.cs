namespace Kimi.Mooncake.Kernels;

/// <summary>Times calls that do the same work each time.</summary>
internal sealed class ShortestTime(TimeProvider time)
{
    private const double WarmUpSeconds = 0.2;
    private const double RunSecondsMin = 2e-3;

    /// <summary>
    /// Least duration of a call (what else the machine does can only add to it) and the spread. Calls too short for the
    /// clock are timed many at once.
    /// </summary>
    public (double Seconds, double Spread) Measure(Action call, int runs)
    {
        // Long enough for the runtime to have put its best code in place.
        var calls = 0;
        var start = time.GetTimestamp();
        do
        {
            call();
            calls++;
        }
        while (calls < 2 || Since(start) < WarmUpSeconds);

        var repeats = (int)Math.Ceiling(RunSecondsMin * calls / Math.Max(Since(start), RunSecondsMin));
        var seconds = new double[runs];
        for (var run = 0; run < runs; run++)
        {
            start = time.GetTimestamp();
            for (var i = 0; i < repeats; i++)
            {
                call();
            }

            seconds[run] = Since(start) / repeats;
        }

        Array.Sort(seconds);
        return (seconds[0], (seconds[^1] - seconds[0]) / seconds[runs / 2]);
    }

    private double Since(long start) => time.GetElapsedTime(start).TotalSeconds;
}
