namespace Kimi.Mooncake.Models;

/// <summary>
/// Estimates how much of a <see cref="ModelBench"/> is done, in the time of a token of prefill near a prompt's start.
/// </summary>
internal sealed class ModelBenchWork
{
    // Rough for any model: what remains is shown, not used.
    private const double StepCost = 10;
    private const double DoublingPositions = 16_384;

    private readonly double _total;
    private double _done;

    public ModelBenchWork(ModelBenchOptions options)
    {
        _total = options.Runs * OfPrefill(1, 0, options.FirstTokenPromptTokens);
        var longest = options.PrefillTokens.DefaultIfEmpty().Max();
        foreach (var count in options.Sequences.Distinct())
        {
            _total += options.Runs * options.PrefillTokens.Distinct().Sum(tokens => OfPrefill(count, 0, tokens));
            _total += options.Runs
                * options.DecodeDepths.Distinct().Sum(depth => OfDecode(count, depth, options.DecodeTokens));
            _total += OfPrefill(count, longest, Math.Max(longest, options.DecodeDepths.DefaultIfEmpty().Max()));
        }
    }

    /// <summary>Work of positions <paramref name="from"/> to <paramref name="to"/> of so many sequences.</summary>
    public static double OfPrefill(int count, int from, int to) =>
        count * (double)(to - from) * (1 + ((from + to) / 2.0 / DoublingPositions));

    /// <summary>Work of so many steps.</summary>
    public static double OfDecode(int count, int depth, int steps) =>
        steps * StepCost * (1 + (count * (1 + (depth / DoublingPositions)) / 2));

    /// <summary>More is done.</summary>
    /// <returns>The part of all that is done, 0 to 1.</returns>
    public double Add(double work)
    {
        _done += work;
        return Math.Min(1, _done / _total);
    }
}
