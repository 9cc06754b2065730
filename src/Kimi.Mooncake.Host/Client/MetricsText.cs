using System.Globalization;

namespace Kimi.Mooncake.Host.Client;

/// <summary>The figures of a <c>/metrics</c> page in the Prometheus text format.</summary>
internal sealed class MetricsText
{
    private readonly Dictionary<string, double> _sums = new(StringComparer.Ordinal);

    private MetricsText()
    {
    }

    /// <summary>Reads a page; the samples of one name are added up over their labels.</summary>
    /// <exception cref="ServerException">A line is no sample.</exception>
    public static MetricsText Parse(string page)
    {
        var metrics = new MetricsText();
        foreach (var line in page.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            if (line[0] == '#')
            {
                continue;
            }

            var labels = line.IndexOf('{', StringComparison.Ordinal);
            var valueAt = labels < 0
                ? line.IndexOf(' ', StringComparison.Ordinal)
                : line.IndexOf(' ', Math.Max(labels, line.LastIndexOf('}')));
            var words = valueAt < 0 ? [] : line[valueAt..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length == 0 || !TryRead(words[0], out var value))
            {
                throw new ServerException($"/metrics has a line that is no sample: {line}");
            }

            var name = line[..(labels < 0 ? valueAt : labels)];
            metrics._sums[name] = metrics._sums.GetValueOrDefault(name) + value;
        }

        return metrics;
    }

    /// <summary>Sum of a metric over its labels; null where the page has none of that name.</summary>
    public double? Find(string name) => _sums.TryGetValue(name, out var value) ? value : null;

    /// <summary>Sum of a metric over its labels.</summary>
    /// <exception cref="ServerException">The page has none of that name.</exception>
    public double Get(string name) => Find(name) ?? throw new ServerException($"/metrics lacks {name}");

    private static bool TryRead(string text, out double value)
    {
        switch (text)
        {
            case "+Inf":
                value = double.PositiveInfinity;
                return true;
            case "-Inf":
                value = double.NegativeInfinity;
                return true;
            default:
                return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out value);
        }
    }
}
