using Kimi.Mooncake.Models.Needle;

namespace Kimi.Mooncake.Models.Tests;

[TestFixture]
internal sealed class PrefillCurveTests
{
    [Test]
    public void OfLongest_CostThatIsALine_IsFoundExactly()
    {
        // Arrange: 2 ms a token and 3 ns for each position that it sees.
        static double Cost(int position, int tokens) => tokens * (2e-3 + (3e-9 * (position + ((tokens + 1) / 2.0))));
        PrefillChunk[] chunks = [.. new[] { (0, 512), (512, 512), (1024, 256) }.Select(
            chunk => new PrefillChunk(chunk.Item1, chunk.Item2, Cost(chunk.Item1, chunk.Item2)))];
        var spread = new Spread(1, 1, 1);

        // Act
        var curve = PrefillCurve.OfLongest(
            NeedleModel.Config,
            [
                new PrefillFigure(1, 64, spread, 1, []), new PrefillFigure(1, 1280, spread, 1, chunks),
                new PrefillFigure(8, 4096, spread, 1, []),
            ])!;

        // Assert
        Assert.That(curve.Tokens, Is.EqualTo(1280));
        Assert.That(curve.ConstantS, Is.EqualTo(2e-3).Within(1e-12));
        Assert.That(curve.PerKeyS, Is.EqualTo(3e-9).Within(1e-15));
        Assert.That(curve.RSquared, Is.EqualTo(1).Within(1e-9));
        Assert.That(curve.DeviationMax, Is.LessThan(1e-9));

        // The built-in model has 4,992 operations for each pair of positions.
        Assert.That(curve.AttentionGflops, Is.EqualTo(4992 / 3.0).Within(0.01));
        Assert.That(curve.Points.Select(point => point.Position), Is.EqualTo(new[] { 0, 512, 1024 }));
        Assert.That(curve.Points[1].MeanKeys, Is.EqualTo(512 + 256.5));
    }

    [Test]
    public void OfLongest_OneSlowPass_IsADeviation()
    {
        PrefillChunk[] chunks =
            [.. Enumerable.Range(0, 20).Select(i => new PrefillChunk(i * 10, 10, i == 10 ? 0.02 : 0.01))];

        var curve = PrefillCurve.OfLongest(
            NeedleModel.Config, [new PrefillFigure(1, 200, new Spread(1, 1, 1), 1, chunks)])!;

        Assert.That(curve.DeviationMax, Is.EqualTo(0.475).Within(0.005));
        Assert.That(curve.RSquared, Is.LessThan(0.1));
    }

    [Test]
    public void OfLongest_FewerThanThreePasses_IsNone()
    {
        PrefillChunk[] chunks = [new(0, 10, 1), new(10, 10, 1)];

        Assert.That(
            PrefillCurve.OfLongest(
                NeedleModel.Config, [new PrefillFigure(1, 20, new Spread(1, 1, 1), 1, chunks)]),
            Is.Null);
    }
}
