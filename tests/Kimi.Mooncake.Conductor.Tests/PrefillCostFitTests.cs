namespace Kimi.Mooncake.Conductor.Tests;

[TestFixture]
internal sealed class PrefillCostFitTests
{
    private const double Fixed = 0.004;
    private const double Token = 0.0003;
    private const double Pair = 2e-8;

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public void Add_NoisyStepsWithOutliers_FindsTheTerms(int seed)
    {
        var random = new Random(seed);
        var fit = new PrefillCostFit();
        for (var step = 0; step < 2000; step++)
        {
            var (from, to) = RandomChunk(random);
            var noise = 1 + 0.1 * (random.NextDouble() - 0.5);
            var outlier = random.Next(20) == 0 ? 30 : 1;
            fit.Add(to - from, PrefillCost.Pairs(from, to), Truth(from, to) * noise * outlier);
        }

        AssertClose(fit.Current, tolerance: 0.1, $"seed {seed}");
        Assert.That(fit.Current.Samples, Is.EqualTo(2000));
    }

    [Test]
    public void Add_CostDoubles_FollowsWithinFewHundredSteps()
    {
        var random = new Random(7);
        var fit = new PrefillCostFit();
        for (var step = 0; step < 2000; step++)
        {
            var (from, to) = RandomChunk(random);
            fit.Add(to - from, PrefillCost.Pairs(from, to), Truth(from, to) * (step < 1200 ? 1 : 2));
        }

        Assert.That(fit.Current.Seconds(0, 8192), Is.EqualTo(2 * Truth(0, 8192)).Within(10).Percent);
    }

    [Test]
    public void Add_EqualStepsOnly_PredictsThem()
    {
        var fit = new PrefillCostFit();
        for (var step = 0; step < 100; step++)
        {
            fit.Add(2048, PrefillCost.Pairs(0, 2048), 0.7);
        }

        Assert.That(fit.Current.Seconds(0, 2048), Is.EqualTo(0.7).Within(1).Percent);
    }

    [Test]
    public void Add_ShrinkingTime_GivesNoNegativeTerm()
    {
        var fit = new PrefillCostFit();
        for (var step = 1; step <= 200; step++)
        {
            fit.Add(step * 10, PrefillCost.Pairs(0, step * 10), 1.0 / step);
        }

        var current = fit.Current;
        Assert.That(current.FixedSeconds, Is.GreaterThanOrEqualTo(0));
        Assert.That(current.TokenSeconds, Is.GreaterThanOrEqualTo(0));
        Assert.That(current.PairSeconds, Is.GreaterThanOrEqualTo(0));
    }

    [TestCase(0, 0, 1)]
    [TestCase(10, -1, 1)]
    [TestCase(10, 50, 0)]
    [TestCase(10, 50, double.NaN)]
    [TestCase(10, double.PositiveInfinity, 1)]
    public void Add_MeaninglessStep_IsLeftOut(int tokens, double pairs, double seconds)
    {
        var fit = new PrefillCostFit();
        fit.Add(100, PrefillCost.Pairs(0, 100), 0.1);
        var before = fit.Current;
        fit.Add(tokens, pairs, seconds);
        Assert.That(fit.Current, Is.EqualTo(before));
    }

    [Test]
    public void Current_BeforeTheFirstStep_IsUnknown() =>
        Assert.That(new PrefillCostFit().Current, Is.EqualTo(default(PrefillCost)));

    private static (int From, int To) RandomChunk(Random random)
    {
        var tokens = 1 << random.Next(4, 12);
        var from = random.Next(0, 16) * 1024;
        return (from, from + tokens);
    }

    private static double Truth(int from, int to) =>
        Fixed + Token * (to - from) + Pair * PrefillCost.Pairs(from, to);

    // The fixed term is small beside the noise of long steps, so predictions are compared, not terms.
    private static void AssertClose(PrefillCost cost, double tolerance, string what)
    {
        foreach (var (from, to) in new[] { (0, 16), (0, 512), (0, 16384), (15_000, 16_000), (0, 100_000) })
        {
            Assert.That(
                cost.Seconds(from, to), Is.EqualTo(Truth(from, to)).Within(100 * tolerance).Percent,
                $"{what}: {from} to {to}");
        }
    }
}
