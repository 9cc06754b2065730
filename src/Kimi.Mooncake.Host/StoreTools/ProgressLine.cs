using System.Diagnostics;
using System.Globalization;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>
/// How far a tool is, with its rate and the time that remains: over itself, or as a line for each tenth.
/// </summary>
/// <typeparam name="T">What the tool reports.</typeparam>
internal sealed class ProgressLine<T>(
    Terminal terminal, string what, Func<T, (long Done, long Total)> measure) : IProgress<T>
{
    private const int Lines = 10;
    private static readonly TimeSpan RedrawTime = TimeSpan.FromMilliseconds(100);

    private readonly long _start = Stopwatch.GetTimestamp();
    private long _drawn;
    private int _tenths;

    public void Report(T value)
    {
        var (done, total) = measure(value);
        if (total <= 0)
        {
            return;
        }

        if (terminal.IsInteractive)
        {
            if (Stopwatch.GetElapsedTime(_drawn) >= RedrawTime)
            {
                _drawn = Stopwatch.GetTimestamp();
                terminal.Redraw(Describe(done, total));
            }
        }
        else if (Lines * done / total > _tenths)
        {
            _tenths = (int)(Lines * done / total);
            terminal.Remark(Describe(done, total));
        }
    }

    /// <summary>Takes the line away, before the result is printed.</summary>
    public void End()
    {
        if (terminal.IsInteractive)
        {
            terminal.Redraw("");
        }
    }

    private string Describe(long done, long total)
    {
        var rate = done / Math.Max(Stopwatch.GetElapsedTime(_start).TotalSeconds, 1e-6);
        var left = (total - done) / Math.Max(rate, 1);
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{what} {100 * done / total} %, {ByteSize.Approximate(rate)}/s, {left:0} s left");
    }
}
