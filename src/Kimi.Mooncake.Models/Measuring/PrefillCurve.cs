namespace Kimi.Mooncake.Models;

/// <summary>The cost of a token somewhere in a prompt.</summary>
/// <param name="Position">Position of the first token of the forward pass.</param>
/// <param name="Tokens">Tokens of the pass.</param>
/// <param name="MeanKeys">Positions that one of its tokens sees on average, its own included.</param>
/// <param name="SecondsPerToken">Duration of the pass over its tokens.</param>
/// <param name="FittedSecondsPerToken">The same by the fitted line.</param>
public sealed record PrefillPoint(
    int Position, int Tokens, double MeanKeys, double SecondsPerToken, double FittedSecondsPerToken);

/// <summary>
/// How the cost of a token grows over a prompt: a constant, and attention's own term, which is proportional to the
/// positions that the token sees. Fitted by least squares with the tokens of each pass as its weight.
/// </summary>
public sealed record PrefillCurve
{
    /// <summary>Fewest passes of a curve: a line goes through any two points.</summary>
    public const int PassesMin = 3;

    /// <summary>Tokens of the prompt.</summary>
    public required int Tokens { get; init; }

    /// <summary>Seconds of a token whatever it sees.</summary>
    public required double ConstantS { get; init; }

    /// <summary>Seconds of a token for each position that it sees.</summary>
    public required double PerKeyS { get; init; }

    /// <summary>Part of the variance that the line explains, at most 1.</summary>
    public required double RSquared { get; init; }

    /// <summary>Largest difference of a pass from the line, as part of what it took.</summary>
    public required double DeviationMax { get; init; }

    /// <summary>
    /// Thousands of millions of useful operations per second in attention, by the line's slope; means nothing where
    /// noise makes <see cref="PerKeyS"/> negative.
    /// </summary>
    public required double AttentionGflops { get; init; }

    /// <summary>Forward passes.</summary>
    public required IReadOnlyList<PrefillPoint> Points { get; init; }

    /// <summary>Of the longest prompt of one sequence; null where it took fewer than three passes.</summary>
    public static PrefillCurve? OfLongest(KimiConfig config, IReadOnlyList<PrefillFigure> figures)
    {
        ArgumentNullException.ThrowIfNull(config);
        var longest = figures.Where(figure => figure.Sequences == 1).MaxBy(figure => figure.Tokens);
        return longest is null || longest.Chunks.Count < PassesMin ? null : Fit(config, longest.Chunks);
    }

    private static PrefillCurve Fit(KimiConfig config, IReadOnlyList<PrefillChunk> chunks)
    {
        (double X, double Y, double Weight)[] points =
        [
            .. chunks.Select(chunk =>
                (chunk.Position + ((chunk.Tokens + 1) / 2.0), chunk.Seconds / chunk.Tokens, (double)chunk.Tokens)),
        ];
        var weight = points.Sum(point => point.Weight);
        var (meanX, meanY) = (
            points.Sum(point => point.Weight * point.X) / weight, points.Sum(point => point.Weight * point.Y) / weight);
        double Sum(Func<double, double, double> of) => points.Sum(p => p.Weight * of(p.X - meanX, p.Y - meanY));
        var slope = Sum((x, y) => x * y) / Sum((x, _) => x * x);
        var constant = meanY - (slope * meanX);
        double Line(double x) => constant + (slope * x);
        var residual = points.Sum(p => p.Weight * (p.Y - Line(p.X)) * (p.Y - Line(p.X)));
        var variance = Sum((_, y) => y * y);
        return new PrefillCurve
        {
            Tokens = chunks.Sum(chunk => chunk.Tokens),
            ConstantS = constant,
            PerKeyS = slope,
            RSquared = variance == 0 ? 1 : 1 - (residual / variance),
            DeviationMax = points.Max(p => Math.Abs(p.Y - Line(p.X)) / p.Y),
            AttentionGflops = config.LayerCount * PrefillWork.AttentionFlopsPerPair(config) / slope / 1e9,
            Points =
            [
                .. chunks.Zip(points, (chunk, p) =>
                    new PrefillPoint(chunk.Position, chunk.Tokens, p.X, p.Y, Line(p.X))),
            ],
        };
    }
}
