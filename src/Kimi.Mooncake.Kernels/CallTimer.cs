namespace Kimi.Mooncake.Kernels;

/// <summary>How long a call takes.</summary>
/// <param name="LeastS">Least of several runs, in seconds: what else the machine does can only add to it.</param>
/// <param name="MedianS">The median, which a short burst above the machine's lasting bandwidth does not change.</param>
/// <param name="Spread">Longest less least, over the median.</param>
internal sealed record CallTime(double LeastS, double MedianS, double Spread);

/// <summary>Times calls that do the same work each time.</summary>
internal sealed class CallTimer(TimeProvider time)
{
    private const double WarmUpSeconds = 0.15;
    private const double RunSecondsMin = 2e-3;
    private const double RunsSecondsMax = 2;
    private const int RunsMin = 3;

    /// <summary>
    /// Times a call. Calls too short for the clock are timed many at once; of long ones there are fewer runs, at least
    /// three.
    /// </summary>
    public CallTime Measure(Action call, int runs)
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

        var perCall = Since(start) / calls;
        var repeats = (int)Math.Ceiling(RunSecondsMin / Math.Max(perCall, RunSecondsMin / 1e6));
        runs = (int)Math.Clamp(RunsSecondsMax / Math.Max(perCall, 1e-9), RunsMin, runs);
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
        var median = seconds[runs / 2];
        return new CallTime(seconds[0], median, (seconds[^1] - seconds[0]) / median);
    }

    private double Since(long start) => time.GetElapsedTime(start).TotalSeconds;
}
