using Kimi.Mooncake.Core;
using Kimi.Mooncake.Models.Sampling;

namespace Kimi.Mooncake.Models.Tests.Sampling;

[TestFixture]
internal sealed class SamplerTests
{
    private const int Draws = 40_000;

    /// <summary>A chi-square of n - 1 degrees of freedom that chance exceeds less than once in a million.</summary>
    private static double ChiSquareMax(int outcomes) =>
        outcomes - 1 + (7 * Math.Sqrt(2.0 * (outcomes - 1))) + 14;

    [Test]
    public void Sample_Greedy_TakesTheGreatestLogit() =>
        Assert.That(Sample([0.5f, 3, -1, 2.9f], SamplingParameters.Greedy), Is.EqualTo(1));

    [TestCase(new[] { 1f, 5, 5, 5 }, 1)]
    [TestCase(new[] { -0f, 0, -1, -1 }, 0)]
    [TestCase(new[] { -7f, -7, -7, -7 }, 0)]
    public void Sample_GreedyTie_TakesTheLowestId(float[] logits, int expected) =>
        Assert.That(Sample(logits, SamplingParameters.Greedy), Is.EqualTo(expected));

    [Test]
    public void Sample_SameSeedAndPosition_GivesTheSameToken([Range(0, 9)] int position)
    {
        // Arrange
        var logits = Enumerable.Range(0, 1000).Select(i => (float)Math.Sin(i)).ToArray();
        var parameters = new SamplingParameters { Seed = 42 };
        var busy = new Sampler(1000);
        for (var other = 0; other < 50; other++)
        {
            busy.Sample(logits, parameters with { Seed = (ulong)other, TopK = 7 }, [1, 2], 1, other, [], out _);
        }

        // Act
        var token = busy.Sample(logits, parameters, [], 0, position, [], out _);
        var again = new Sampler(1000).Sample(logits, parameters, [], 0, position, [], out _);

        // Assert
        Assert.That(token, Is.EqualTo(again));
    }

    [Test]
    public void Sample_ManyPositions_FollowsTheDistribution([Values(0UL, 1UL, 7UL, ulong.MaxValue)] ulong seed) =>
        CheckDistribution([0.4, 0.3, 0.15, 0.1, 0.05], position => (seed, position));

    [Test]
    public void Sample_ManySeeds_FollowsTheDistribution([Values(0, 1, 100_000)] int position) =>
        CheckDistribution([0.4, 0.3, 0.15, 0.1, 0.05], draw => ((ulong)draw, position));

    [Test]
    public void Sample_Temperature_SharpensTheDistribution()
    {
        // At temperature 1/2 probabilities are squared and normalised: 0.64/0.66 and so on.
        double[] probabilities = [0.8, 0.1, 0.1];
        double[] squared = [0.64 / 0.66, 0.01 / 0.66, 0.01 / 0.66];

        var counts = Count(Logits(probabilities), new() { Temperature = 0.5f, Seed = 3 });

        Assert.That(ChiSquare(counts, squared), Is.LessThan(ChiSquareMax(3)));
    }

    [Test]
    public void Sample_TopKAndTopP_DrawFromTheRestInProportion()
    {
        var logits = Logits([0.4, 0.3, 0.2, 0.06, 0.04]);

        var counts = Count(logits, new() { TopK = 4, TopP = 0.9f, Seed = 11 });

        Assert.That(counts[3..], Is.All.Zero);
        Assert.That(ChiSquare(counts[..3], [0.4 / 0.9, 0.3 / 0.9, 0.2 / 0.9]), Is.LessThan(ChiSquareMax(3)));
    }

    [TestCase(1e-6f)]
    [TestCase(1e-38f)]
    [TestCase(float.Epsilon)]
    public void Sample_TinyTemperature_IsGreedyWithoutOverflow(float temperature)
    {
        var counts = Count([1f, 1.001f, -3e38f, 0.999f, 1f], new() { Temperature = temperature, Seed = 5 }, 100);

        Assert.That(counts[1], Is.EqualTo(100));
    }

    [Test]
    public void Sample_HugeLogits_DoNotOverflow()
    {
        var counts = Count([3e38f, 3e38f, -3e38f], new() { Seed = 5 }, 1000);

        Assert.That(counts[0], Is.InRange(400, 600));
        Assert.That(counts[0] + counts[1], Is.EqualTo(1000));
    }

    [Test]
    public void Sample_OneToken_DrawsIt() => Assert.That(Sample([-5f], new() { TopP = 0.1f }), Is.Zero);

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    [TestCase(float.NegativeInfinity)]
    public void Sample_NonFiniteLogit_NamesTokenAndPosition(float bad)
    {
        var logits = new float[50];
        logits[17] = bad;

        var error = Assert.Throws<NonFiniteLogitsException>(
            () => new Sampler(50).Sample(logits, SamplingParameters.Greedy, [], 0, 123, [], out _))!;

        Assert.That(error.Message, Does.Contain("token 17").And.Contains("position 123").And.Contains("finite"));
    }

    [Test]
    public void Sample_WrongSizes_Throws()
    {
        var sampler = new Sampler(4);
        var greedy = SamplingParameters.Greedy;

        Assert.Throws<ArgumentException>(() => sampler.Sample(new float[3], greedy, [], 0, 0, [], out _));
        Assert.Throws<ArgumentOutOfRangeException>(() => sampler.Sample(new float[4], greedy, [1], 2, 0, [], out _));
        Assert.Throws<ArgumentOutOfRangeException>(
            () => sampler.Sample(new float[4], greedy, [], 0, 0, new TokenLogprob[5], out _));
    }

    [Test]
    public void Sample_ParametersOutOfRange_NamesTheParameter()
    {
        var cases = new (SamplingParameters Parameters, string Name)[]
        {
            (new() { Temperature = -1 }, "Temperature"), (new() { Temperature = float.NaN }, "Temperature"),
            (new() { TopP = 0 }, "TopP"), (new() { TopP = 1.1f }, "TopP"), (new() { TopK = -1 }, "TopK"),
            (new() { MinP = 2 }, "MinP"), (new() { RepetitionPenalty = 0 }, "RepetitionPenalty"),
            (new() { PresencePenalty = float.NaN }, "PresencePenalty"),
            (new() { FrequencyPenalty = float.PositiveInfinity }, "FrequencyPenalty"),
            (new() { LogitBias = [new(0, float.NaN)] }, "LogitBias"),
        };
        foreach (var (parameters, name) in cases)
        {
            var error = Assert.Throws<ArgumentException>(() => Sample([1, 2], parameters))!;
            Assert.That(error.Message, Does.StartWith(name));
        }
    }

    [Test]
    public void Sample_AfterWarmUp_DoesNotAllocate()
    {
        // Arrange
        const int Vocabulary = 5000;
        var logits = Enumerable.Range(0, Vocabulary).Select(i => (float)Math.Sin(i) * 3).ToArray();
        var sampler = new Sampler(Vocabulary);
        int[] tokens = [1, 2, 3, 2];
        var top = new TokenLogprob[20];
        var everything = new SamplingParameters
        {
            TopK = 2000,
            TopP = 0.95f,
            MinP = 0.001f,
            PresencePenalty = 0.5f,
            FrequencyPenalty = 0.1f,
            RepetitionPenalty = 1.1f,
            LogitBias = [new(4, 2f)],
            Logprobs = true,
        };
        SamplingParameters[] kinds = [SamplingParameters.Greedy, new(), new() { TopP = 0.9f }, everything];
        foreach (var parameters in kinds)
        {
            sampler.Sample(logits, parameters, tokens, 2, 4, top, out _);
        }

        // Act
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var position = 0; position < 100; position++)
        {
            foreach (var parameters in kinds)
            {
                sampler.Sample(logits, parameters, tokens, 2, position, top, out _);
            }
        }

        // Assert
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    private static void CheckDistribution(double[] probabilities, Func<int, (ulong Seed, int Position)> place)
    {
        var logits = Logits(probabilities);
        var sampler = new Sampler(logits.Length);
        var counts = new int[logits.Length];
        for (var draw = 0; draw < Draws; draw++)
        {
            var (seed, position) = place(draw);
            counts[sampler.Sample(logits, new() { Seed = seed }, [], 0, position, [], out _)]++;
        }

        Assert.That(
            ChiSquare(counts, probabilities), Is.LessThan(ChiSquareMax(counts.Length)), string.Join(", ", counts));
    }

    private static int Sample(float[] logits, SamplingParameters parameters) =>
        new Sampler(logits.Length).Sample(logits, parameters, [], 0, 0, [], out _);

    private static float[] Logits(double[] probabilities) =>
        [.. probabilities.Select(probability => (float)Math.Log(probability) + 3)];

    private static int[] Count(float[] logits, SamplingParameters parameters, int draws = Draws)
    {
        var sampler = new Sampler(logits.Length);
        var counts = new int[logits.Length];
        for (var position = 0; position < draws; position++)
        {
            counts[sampler.Sample(logits, parameters, [], 0, position, [], out _)]++;
        }

        return counts;
    }

    private static double ChiSquare(int[] counts, double[] probabilities)
    {
        var total = counts.Sum();
        return counts.Zip(probabilities, (count, probability) =>
            Math.Pow(count - (total * probability), 2) / (total * probability)).Sum();
    }
}
