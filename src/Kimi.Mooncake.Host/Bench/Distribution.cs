namespace Kimi.Mooncake.Host.Bench;

/// <summary>Percentiles of a measured quantity by nearest rank; all 0 where nothing was measured.</summary>
internal sealed record Distribution
{
    public required int Count { get; init; }

    public required double Mean { get; init; }

    public required double P50 { get; init; }

    public required double P90 { get; init; }

    public required double P99 { get; init; }

    public required double Max { get; init; }

    public static Distribution Of(IEnumerable<double> values)
    {
        var ordered = values.Order().ToList();
        return new Distribution
        {
            Count = ordered.Count,
            Mean = ordered.Count == 0 ? 0 : ordered.Average(),
            P50 = NearestRank(ordered, 0.5),
            P90 = NearestRank(ordered, 0.9),
            P99 = NearestRank(ordered, 0.99),
            Max = NearestRank(ordered, 1),
        };
    }

    private static double NearestRank(List<double> ordered, double share) =>
        ordered.Count == 0 ? 0 : ordered[Math.Max(0, (int)Math.Ceiling(share * ordered.Count) - 1)];
}
