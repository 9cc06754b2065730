using System.Globalization;
using Kimi.Mooncake.Host.Client;

namespace Kimi.Mooncake.Host.Output;

/// <summary>
/// Shows how far a prefill is, with its rate and the remaining time: over itself on a terminal, otherwise as a line for
/// each tenth of the prompt.
/// </summary>
internal sealed class PrefillDisplay(Terminal terminal)
{
    private const int BarCells = 24;
    private const int LinesMax = 10;

    private int _tenths = -1;
    private bool _isDrawn;

    public void Show(PrefillPart progress)
    {
        if (terminal.IsInteractive)
        {
            terminal.Redraw(Describe(progress));
            _isDrawn = true;
            return;
        }

        var tenths = (int)(LinesMax * Share(progress));
        if (tenths > _tenths)
        {
            _tenths = tenths;
            terminal.Remark(Describe(progress));
        }
    }

    /// <summary>Takes the display away, before the answer is written.</summary>
    public void End()
    {
        if (_isDrawn)
        {
            terminal.Redraw("");
            _isDrawn = false;
        }
    }

    /// <summary>One line of text. The rate counts computed tokens only; cached ones took no time.</summary>
    public static string Describe(PrefillPart progress)
    {
        var filled = (int)(BarCells * Share(progress));
        var bar = new string('█', filled) + new string('░', BarCells - filled);
        var text = string.Create(
            CultureInfo.InvariantCulture,
            $"prefill {bar} {progress.ProcessedTokens:N0}/{progress.TotalTokens:N0} tokens");
        if (progress.CachedTokens > 0)
        {
            text += string.Create(CultureInfo.InvariantCulture, $" ({progress.CachedTokens:N0} cached)");
        }

        var computed = progress.ProcessedTokens - progress.CachedTokens;
        if (computed <= 0 || progress.Milliseconds <= 0)
        {
            return text;
        }

        var rate = computed * 1000.0 / progress.Milliseconds;
        var remaining = (progress.TotalTokens - progress.ProcessedTokens) / rate;
        return text + string.Create(CultureInfo.InvariantCulture, $", {rate:N0} tokens/s, {remaining:0.0} s left");
    }

    private static double Share(PrefillPart progress) =>
        progress.TotalTokens <= 0 ? 0 : Math.Clamp((double)progress.ProcessedTokens / progress.TotalTokens, 0, 1);
}
