using System.Globalization;
using System.Xml.Linq;
using Kimi.Mooncake.Models;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>
/// Draws what a token costs over its position in a prompt: a point for each forward pass, and the fitted line. Readable
/// on light and dark ground.
/// </summary>
internal static class PrefillChart
{
    private const int Width = 960;
    private const int Height = 500;
    private const int Left = 84;
    private const int Right = 44;
    private const int Top = 24;
    private const int Bottom = 56;
    private const int TicksWanted = 6;
    private const double Headroom = 1.08;

    private const string Style =
        """
        .prefill text { font: 13px system-ui, sans-serif; fill: #57606a; }
        .prefill .grid { stroke: #d8dee4; stroke-width: 1; }
        .prefill .axis { stroke: #8c959f; stroke-width: 1; }
        .prefill .point { fill: #0969da; }
        .prefill .line { stroke: #bc4c00; stroke-width: 2; fill: none; }
        .prefill .constant { stroke: #8c959f; stroke-width: 1.5; stroke-dasharray: 5 4; }
        .prefill .on-line { fill: #bc4c00; }
        .prefill .of-points { fill: #0969da; }
        @media (prefers-color-scheme: dark) {
          .prefill text { fill: #9aa4af; }
          .prefill .grid { stroke: #262c36; }
          .prefill .point { fill: #58a6ff; }
          .prefill .line { stroke: #f0883e; }
          .prefill .on-line { fill: #f0883e; }
          .prefill .of-points { fill: #58a6ff; }
        }
        """;

    private static readonly XNamespace Svg = "http://www.w3.org/2000/svg";

    /// <summary>The line in words.</summary>
    public static string Describe(PrefillCurve curve) => (curve.PerKeyS > 0
        ? Text($"A token costs {curve.ConstantS * 1e6:0.0} µs and {curve.PerKeyS * 1e9:0.000} ns for each position ")
            + Text($"that it sees (attention at {curve.AttentionGflops:0} GFLOP/s); ")
        : Text($"Noise hides how the cost of a token grows over {curve.Tokens:N0} positions; "))
        + Text($"R² {curve.RSquared:0.0000}, passes within {curve.DeviationMax:P1} of the line.");

    /// <summary>The drawing.</summary>
    public static XElement Draw(PrefillCurve curve)
    {
        var costMax = Headroom * 1e6 * curve.Points.Max(
            point => Math.Max(point.SecondsPerToken, point.FittedSecondsPerToken));
        var (tokenStep, costStep) = (BinaryStep(curve.Tokens), DecimalStep(costMax));

        // Noise can make the constant negative; the line is drawn from where it is a cost.
        var first = curve.ConstantS < 0 ? Math.Clamp(-curve.ConstantS / curve.PerKeyS, 0, curve.Tokens) : 0;
        double Fitted(double keys) => (curve.ConstantS + (curve.PerKeyS * keys)) * 1e6;
        double X(double position) => Left + (position / curve.Tokens * (Width - Left - Right));
        double Y(double micros) => Height - Bottom - (micros / costMax * (Height - Top - Bottom));
        return new XElement(
            Svg + "svg",
            new XAttribute("class", "prefill"),
            new XAttribute("viewBox", Text($"0 0 {Width} {Height}")),
            new XAttribute("role", "img"),
            new XElement(Svg + "title", Describe(curve)),
            new XElement(Svg + "style", Style),
            Steps(costStep, costMax).Select(cost => CostTick(cost, Y(cost))),
            Steps(tokenStep, curve.Tokens).Select(position => PositionTick(position, X(position))),
            Line("axis", Left, Y(0), Width - Right, Y(0)),
            curve.ConstantS < 0 ? null : Line("constant", X(0), Y(Fitted(0)), X(curve.Tokens), Y(Fitted(0))),
            Line("line", X(first), Y(Fitted(first)), X(curve.Tokens), Y(Fitted(curve.Tokens))),
            curve.Points.Select(point => Point(point, X(point.MeanKeys), Y(point.SecondsPerToken * 1e6))),
            Label("", Width - Right, Height - 12, "end", "position in the prompt (tokens)"),
            Label("", Left, Top - 8, "start", "time per token (µs)"),
            Label("of-points", X(0) + 14, Top + 22, "start", "● measured, each pass"),
            Label("on-line", X(0) + 14, Top + 42, "start", "━ constant + attention's own term, fitted"),
            Label("", X(0) + 14, Top + 62, "start", "╌ constant"));
    }

    /// <summary>A round number of which about six make up a length: 1, 2 or 5 times a power of ten.</summary>
    internal static double DecimalStep(double length)
    {
        var raw = length / TicksWanted;
        var power = Math.Pow(10, Math.Floor(Math.Log10(raw)));
        return power * (raw / power) switch { <= 1 => 1, <= 2 => 2, <= 5 => 5, _ => 10 };
    }

    /// <summary>The same of powers of two, which prompts' lengths are.</summary>
    internal static double BinaryStep(double length) => Math.Pow(2, Math.Ceiling(Math.Log2(length / TicksWanted)));

    private static IEnumerable<double> Steps(double step, double end)
    {
        for (var i = 0; i * step <= end; i++)
        {
            yield return i * step;
        }
    }

    private static XElement[] CostTick(double cost, double y) =>
    [
        Line("grid", Left, y, Width - Right, y),
        Label("", Left - 8, y + 4, "end", Text($"{cost:#,0.##}")),
    ];

    private static XElement[] PositionTick(double position, double x) =>
    [
        Line("axis", x, Height - Bottom, x, Height - Bottom + 5),
        Label("", x, Height - Bottom + 22, "middle", Text($"{position:N0}")),
    ];

    private static XElement Point(PrefillPoint point, double x, double y) => new(
        Svg + "circle",
        new XAttribute("class", "point"),
        new XAttribute("cx", Text($"{x:0.0}")),
        new XAttribute("cy", Text($"{y:0.0}")),
        new XAttribute("r", "3.5"),
        new XElement(
            Svg + "title",
            Text($"{point.Tokens:N0} tokens from {point.Position:N0}: {point.SecondsPerToken * 1e6:N1} µs each")));

    private static XElement Line(string kind, double x1, double y1, double x2, double y2) => new(
        Svg + "line",
        new XAttribute("class", kind),
        new XAttribute("x1", Text($"{x1:0.0}")),
        new XAttribute("y1", Text($"{y1:0.0}")),
        new XAttribute("x2", Text($"{x2:0.0}")),
        new XAttribute("y2", Text($"{y2:0.0}")));

    private static XElement Label(string kind, double x, double y, string anchor, string text) => new(
        Svg + "text",
        kind.Length == 0 ? null : new XAttribute("class", kind),
        new XAttribute("x", Text($"{x:0.0}")),
        new XAttribute("y", Text($"{y:0.0}")),
        new XAttribute("text-anchor", anchor),
        text);

    private static string Text(FormattableString value) => value.ToString(CultureInfo.InvariantCulture);
}
