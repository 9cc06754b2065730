using System.Globalization;
using System.Xml.Linq;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Models;

namespace Kimi.Mooncake.Host.Tests.Bench;

[TestFixture]
internal sealed class PrefillChartTests
{
    [TestCase(2e-3, 1e-6, 0)]
    [TestCase(2e-3, -1e-7, 0)]
    [TestCase(-1e-4, 1e-6, 100)]
    public void Draw_AnyLine_GoesFromWhereItIsACostToTheEnd(double constant, double perKey, int firstPosition)
    {
        var curve = CurveOf(constant, perKey);

        var drawing = PrefillChart.Draw(curve);

        var axis = LineOf(drawing, "axis");
        var line = LineOf(drawing, "line");
        var expected = axis.X1 + ((axis.X2 - axis.X1) * firstPosition / curve.Tokens);
        Assert.That(line.X1, Is.EqualTo(expected).Within(0.2));
        Assert.That(line.X2, Is.EqualTo(axis.X2).Within(0.2));
    }

    [TestCase(1e-6, "attention at 500 GFLOP/s")]
    [TestCase(-1e-6, "Noise hides how the cost of a token grows over 1,000 positions")]
    public void Describe_RisingOrFallingLine_TellsARateOnlyWhereThereIsOne(double perKey, string expected)
    {
        var text = PrefillChart.Describe(CurveOf(2e-3, perKey));

        Assert.That(text, Does.Contain(expected).And.Not.Contain("-"));
    }

    private static PrefillCurve CurveOf(double constant, double perKey) => new()
    {
        Tokens = 1000,
        ConstantS = constant,
        PerKeyS = perKey,
        RSquared = 0.5,
        DeviationMax = 0.1,
        AttentionGflops = 5e-4 / perKey,
        Points =
        [
            .. new[] { 0, 400, 800 }.Select(position =>
                new PrefillPoint(position, 200, position + 100.5, 2e-3, constant + (perKey * (position + 100.5)))),
        ],
    };

    private static (double X1, double X2) LineOf(XElement drawing, string kind)
    {
        return drawing.Elements()
            .Where(element => (string?)element.Attribute("class") == kind)
            .Select(element => (Of(element, "x1"), Of(element, "x2")))
            .Single(line => line.Item1 != line.Item2);
        static double Of(XElement line, string name) =>
            double.Parse(line.Attribute(name)!.Value, CultureInfo.InvariantCulture);
    }
}
