using System.Diagnostics;
using System.Globalization;
using Kimi.Mooncake.Models;

namespace Kimi.Mooncake.Host.Output;

/// <summary>
/// Shows what a bench runs and how long it will still take: over itself on a terminal, otherwise a line for each
/// measurement.
/// </summary>
internal sealed class BenchDisplay(Terminal terminal) : IProgress<ModelBenchProgress>
{
    // Earlier the remaining time is a guess.
    private const double ShareShownMin = 0.02;

    private static readonly TimeSpan RedrawInterval = TimeSpan.FromMilliseconds(100);

    private readonly long _start = Stopwatch.GetTimestamp();
    private long _drawn;
    private string _what = "";
    private bool _isDrawn;

    public void Report(ModelBenchProgress value)
    {
        var isNew = value.What != _what;
        _what = value.What;
        if (terminal.IsInteractive)
        {
            if (isNew || Stopwatch.GetElapsedTime(_drawn) >= RedrawInterval)
            {
                terminal.Redraw(Describe(value, Stopwatch.GetElapsedTime(_start)));
                (_isDrawn, _drawn) = (true, Stopwatch.GetTimestamp());
            }
        }
        else if (isNew)
        {
            terminal.Remark(Describe(value, Stopwatch.GetElapsedTime(_start)));
        }
    }

    /// <summary>Takes the display away, before the result is written.</summary>
    public void End()
    {
        if (_isDrawn)
        {
            terminal.Redraw("");
            _isDrawn = false;
        }
    }

    /// <summary>One line of text.</summary>
    internal static string Describe(ModelBenchProgress progress, TimeSpan elapsed) => progress.Share < ShareShownMin
        ? progress.What
        : progress.What + string.Create(
            CultureInfo.InvariantCulture,
            $"; {progress.Share:P0}, {elapsed * (1 - progress.Share) / progress.Share:h\\:mm\\:ss} left");
}
