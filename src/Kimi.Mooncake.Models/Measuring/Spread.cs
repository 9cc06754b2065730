namespace Kimi.Mooncake.Models;

/// <summary>What several runs of the same measurement gave.</summary>
/// <param name="Median">Middle value; the mean of the two middle ones of an even number.</param>
/// <param name="Min">Least value.</param>
/// <param name="Max">Greatest value.</param>
public sealed record Spread(double Median, double Min, double Max)
{
    /// <summary>Of at least one value.</summary>
    /// <exception cref="ArgumentException">There is none.</exception>
    public static Spread Of(IEnumerable<double> values)
    {
        double[] ordered = [.. values.Order()];
        if (ordered.Length == 0)
        {
            throw new ArgumentException("there are no values; expected at least one", nameof(values));
        }

        var middle = ordered.Length / 2;
        var median = ordered.Length % 2 == 1 ? ordered[middle] : (ordered[middle - 1] + ordered[middle]) / 2;
        return new Spread(median, ordered[0], ordered[^1]);
    }
}
