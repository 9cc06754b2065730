namespace Kimi.Mooncake.Host.StoreTools;

/// <summary>One figure: the median over the rounds, and the extremes.</summary>
internal sealed record StoreBenchRow(string Name, string Unit, double Median, double Min, double Max)
{
    public static StoreBenchRow Of(string name, string unit, IEnumerable<double> values)
    {
        var ordered = values.Order().ToList();
        return new StoreBenchRow(name, unit, ordered[ordered.Count / 2], ordered[0], ordered[^1]);
    }
}

/// <summary>One figure in proportion to another, as the median of the rounds' proportions.</summary>
/// <param name="Name">What is compared.</param>
/// <param name="Median">The proportion.</param>
/// <param name="Wanted">What it should be at least.</param>
internal sealed record StoreBenchRatio(string Name, double Median, double Wanted);

/// <summary>What <c>mooncake store bench</c> found.</summary>
internal sealed record StoreBenchReport
{
    public required string Directory { get; init; }

    public required long Bytes { get; init; }

    public required int BlockBytes { get; init; }

    public required string Layout { get; init; }

    public required int Rounds { get; init; }

    public required int Processors { get; init; }

    public required IReadOnlyList<StoreBenchRow> Rows { get; init; }

    public required IReadOnlyList<StoreBenchRatio> Ratios { get; init; }

    /// <summary>Bytes on disk for each byte put, with compression; the values are normally distributed.</summary>
    public required double CompressedShare { get; init; }

    /// <summary>Objects of the index that lookups are measured in.</summary>
    public required int IndexObjects { get; init; }

    /// <summary>Wanted: at most 200.</summary>
    public required double MetadataBytesPerObject { get; init; }
}
