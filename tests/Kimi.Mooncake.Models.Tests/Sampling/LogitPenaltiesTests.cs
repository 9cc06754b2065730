using Kimi.Mooncake.Core;
using Kimi.Mooncake.Models.Sampling;

namespace Kimi.Mooncake.Models.Tests.Sampling;

[TestFixture]
internal sealed class LogitPenaltiesTests
{
    private static readonly float[] Logits = [2, -2, 4, 0, 1];

    [Test]
    public void Apply_Repetition_CountsPromptAndOutputOnce() =>
        Assert.That(
            Apply(new() { RepetitionPenalty = 2 }, [0, 1, 0], 1), Is.EqualTo((float[])[1, -4, 4, 0, 1]));

    [Test]
    public void Apply_PresenceAndFrequency_CountOutputOnly() =>
        Assert.That(
            Apply(new() { PresencePenalty = 0.5f, FrequencyPenalty = 0.25f }, [4, 4, 2, 0, 2, 2], 2),
            Is.EqualTo((float[])[1.25f, -2, 2.75f, 0, 1]));

    [Test]
    public void Apply_All_RepetitionComesFirstAndBiasLast() =>
        Assert.That(
            Apply(
                new()
                {
                    RepetitionPenalty = 2,
                    PresencePenalty = 1,
                    LogitBias = [new(2, 10), new(3, -100), new(2, 1)],
                },
                [2],
                0),
            Is.EqualTo((float[])[2, -2, 12, -100, 1]));

    [Test]
    public void Apply_NegativePenalties_Encourage() =>
        Assert.That(
            Apply(new() { PresencePenalty = -2, FrequencyPenalty = -1 }, [1, 1], 0),
            Is.EqualTo((float[])[2, 2, 4, 0, 1]));

    [Test]
    public void Apply_Twice_ForgetsTheFirstCall()
    {
        var penalties = new LogitPenalties(5);
        var parameters = new SamplingParameters { RepetitionPenalty = 2, FrequencyPenalty = 1 };
        var first = penalties.Apply(Logits, parameters, [0, 1, 1], 1).ToArray();

        var second = penalties.Apply(Logits, parameters, [0, 1, 1], 1).ToArray();

        Assert.That(second, Is.EqualTo(first));
        Assert.That(second, Is.EqualTo((float[])[1, -6, 4, 0, 1]));
    }

    [Test]
    public void Apply_Nothing_GivesTheSameLogits() =>
        Assert.That(new LogitPenalties(5).Apply(Logits, new(), [1, 2], 1) == Logits, Is.True);

    [Test]
    public void Apply_ExtremeValues_StayFinite()
    {
        var penalties = new LogitPenalties(2);
        var parameters = new SamplingParameters { RepetitionPenalty = 10, LogitBias = [new(1, 3e38f)] };

        var adjusted = penalties.Apply([-3e38f, 3e38f], parameters, [0], 1).ToArray();

        Assert.That(adjusted, Is.EqualTo((float[])[-float.MaxValue, float.MaxValue]));
    }

    [TestCase(5)]
    [TestCase(-1)]
    public void Apply_UnknownToken_Throws(int token)
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => Apply(new() { RepetitionPenalty = 2 }, [token], 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => Apply(new() { LogitBias = [new(token, 1)] }, [], 0));
    }

    private static float[] Apply(SamplingParameters parameters, int[] tokens, int promptLength) =>
        new LogitPenalties(5).Apply(Logits, parameters, tokens, promptLength).ToArray();
}
