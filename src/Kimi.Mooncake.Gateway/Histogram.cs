using System.Globalization;
using System.Text;

namespace Kimi.Mooncake.Gateway;

/// <summary>A distribution in fixed buckets, in Prometheus' form. Safe for use by several threads.</summary>
/// <param name="name">Full metric name.</param>
/// <param name="help">One sentence.</param>
/// <param name="bounds">Upper bounds of the buckets, ascending; one more takes the rest.</param>
internal sealed class Histogram(string name, string help, double[] bounds)
{
    private readonly Lock _lock = new();
    private readonly long[] _counts = new long[bounds.Length + 1];
    private double _sum;

    /// <summary>Counts one value.</summary>
    public void Observe(double value)
    {
        var bucket = Array.BinarySearch(bounds, value);
        bucket = bucket >= 0 ? bucket : ~bucket;
        lock (_lock)
        {
            _counts[bucket]++;
            _sum += value;
        }
    }

    /// <summary>Appends the exposition text.</summary>
    public void Write(StringBuilder text)
    {
        long[] counts;
        double sum;
        lock (_lock)
        {
            counts = [.. _counts];
            sum = _sum;
        }

        text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} histogram\n");
        var total = 0L;
        for (var i = 0; i < counts.Length; i++)
        {
            total += counts[i];
            var bound = i < bounds.Length ? bounds[i].ToString(CultureInfo.InvariantCulture) : "+Inf";
            text.Append(CultureInfo.InvariantCulture, $"{name}_bucket{{le=\"{bound}\"}} {total}\n");
        }

        text.Append(CultureInfo.InvariantCulture, $"{name}_sum {sum}\n{name}_count {total}\n");
    }
}
